// Contract of the float kernels that work along rows: requantization, GELU, residual + LayerNorm, softmax.
//
// Every function has one definition (rows_generic.inc) that each ISA file compiles over its own 16-lane
// vocabulary, with fused multiply-adds only where written and reductions in one order: lane j adds elements
// j, j+16, j+32, ...; then the lanes are folded 8, 4, 2, 1. So all ISAs give the same bits.
//
// NaN goes through everything that is written as floats.
//
// Rounding to codes: q = clamp(rne(y * inverse), -128, 127) with inverse = 1.0f / scale, ties to even; NaN
// becomes -128. Codes are stored XOR `flip`: 0 for signed bytes, 0x80 for kernels that read A as unsigned.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace qdqbert::engine {

enum class Activation : uint8_t {
  kNone,
  kGelu,
  kGeluTanh,
  kRelu,
  kSilu,
  kTanh,
  kSigmoid,
  kQuickGelu,  ///< x sigmoid(1.702 x)
  kMish,       ///< x tanh(log(1 + e^x))
  kLaplace,    ///< Phi((x - 0.707107) / 0.282095)
  kLeakyRelu,  ///< slope 0.01 below 0
  kRelu2,      ///< relu squared
};

/// acc -> y = fma(float(acc), scale[n], bias[n]) -> activation -> codes or floats. n is a multiple of 16;
/// `inverse` has one value per column (columns of one matrix may feed different quantizers).
struct RequantizeArgs {
  const int32_t* acc;
  size_t ldacc;
  size_t rows, n;
  const float* scale;
  const float* bias;
  Activation activation;
  float clip;            ///< upper bound after the activation (gelu clipped at 10); +inf: none
  const float* inverse;  ///< null: write floats
  uint8_t* codes;
  size_t ldcodes;
  uint8_t flip;
  float* out;  ///< used when inverse is null
  size_t ldout;
};

/// One destination of a LayerNorm row: quantized with its own scale.
struct CodeOutput {
  uint8_t* codes;
  size_t ld;
  float inverse;
  uint8_t flip;
};

/// y = fma(float(acc), scale, bias); local = dequantize(quantize(y)) when local_inverse > 0, else y;
/// x = local + residual; out = (x - mean) * rstd * gamma + beta. mean and variance over `n_used` columns
/// (n_used <= n, n a multiple of 16; columns past n_used hold zero weights and are excluded).
struct ResidualLayerNormArgs {
  int32_t* acc;  ///< overwritten; null: no matmul term, x = residual only (embeddings)
  size_t ldacc;
  size_t rows, n, n_used;
  const float* scale;
  const float* bias;
  float local_inverse, local_scale;
  const uint8_t* residual_codes;  ///< codes XOR residual_flip, or null
  size_t ldresidual_codes;
  uint8_t residual_flip;
  float residual_scale;
  const float* residual;  ///< used when residual_codes is null
  size_t ldresidual;
  const float* gamma;
  const float* beta;
  float epsilon;
  float* row_scratch;  ///< floats that belong to the calling thread, used when acc is null: n, with
                       ///< local_codes 4 n
  float* out;          ///< may be null
  size_t ldout;
  const CodeOutput* outputs;
  size_t output_count;
  const uint8_t* local_codes = nullptr;  ///< the codes of y, in place of acc
  size_t ldlocal_codes = 0;
};

/// e = 2^((acc - max) * s) with s = scale * log2(e), scale > 0; codes = rne(e * (inverse / sum of e)) over
/// the first `keys` columns, `padding_code` past `keys` up to `padded` (a multiple of 16). acc is overwritten
/// (it holds e in between).
struct SoftmaxArgs {
  int32_t* acc;
  size_t ldacc;
  size_t rows, keys, padded;
  float scale;
  float inverse;
  uint8_t* codes;
  size_t ldcodes;
  uint8_t flip;
  uint8_t padding_code;  ///< what is written past `keys`
};

/// y[m][j] for j < n. The weight's layout comes from pack_f32() (pack.h), which chooses by the matrix's own
/// number of columns, so the result of a row depends on nothing but this row and the matrix.
///   wide:   panels of 16 columns, each [k][16]; y = bias, then y = fma(a[k], w[k][j], y) for k ascending.
///   narrow: [n][k rounded up to 16], zeros behind; lane i = fma over elements i, i+16, ... from 0, the lanes
///   folded
///           as above, then + bias.
/// A wide matrix may be worked on in pieces of whole panels: n, weight, bias and out of the piece.
struct LinearF32Args {
  const float* a;
  size_t lda;
  size_t rows, k, n;
  const float* weight;
  bool narrow;        ///< narrow_f32(n) of the whole matrix
  const float* bias;  ///< null: zeros
  float* out;
  size_t ldout;
};

struct RowKernels {
  const char* name;
  void (*requantize)(const RequantizeArgs&);
  void (*residual_layernorm)(const ResidualLayerNormArgs&);
  void (*softmax)(const SoftmaxArgs&);
  /// codes = quantize(x), n values.
  void (*quantize)(const float* x, size_t n, float inverse, uint8_t flip, uint8_t* codes);
  /// y = float(code) * scale, n values.
  void (*dequantize)(const uint8_t* codes, size_t n, float scale, uint8_t flip, float* y);
  /// y = a + b, n values; y may be a or b.
  void (*add)(const float* a, const float* b, size_t n, float* y);
  void (*linear_f32)(const LinearF32Args&);
  /// y = activation(x), n values (any n); y may be x.
  void (*activate)(Activation activation, const float* x, size_t n, float* y);
  /// y = exp(x) for x <= 0, n values (any n); for tests.
  void (*exp_nonpositive)(const float* x, size_t n, float* y);
};

const RowKernels& rows_ref();
const RowKernels& rows_avx2();
const RowKernels& rows_avx512();

}  // namespace qdqbert::engine
