// INT8 GEMM over a packed batch with its epilogue, spread over the pool.
#pragma once

#include <cstdint>
#include <vector>

#include "qdqbert/engine/integer/layer.h"
#include "qdqbert/engine/kernels/select.h"
#include "qdqbert/engine/worker_pool.h"

namespace qdqbert::engine {

/// What every step needs: kernels, threads and one accumulator block per worker.
struct Machine {
  const GemmS8Kernel& gemm;
  const RowKernels& rows;
  WorkerPool& pool;
  std::vector<AlignedBuffer<int32_t>> scratch;  ///< per worker; see scratch_size
  /// XOR that turns a signed code into what the GEMM reads as A.
  uint8_t flip() const { return gemm.unsigned_a ? 0x80 : 0; }
};

/// Codes [rows][ld]; rows are padded for the kernel's over-read, ld to a multiple of kGemmKUnit.
struct Codes {
  uint8_t* data = nullptr;
  size_t ld = 0;
};

/// int32 values of scratch per worker that the GEMMs of an encoder of this hidden size need.
size_t scratch_size(size_t hidden);

/// Columns [first, last) of a requantized row get this treatment.
struct RequantizeTo {
  Codes out;
  size_t column = 0;                    ///< first column of out
  const float* inverse = nullptr;       ///< per column of the linear, padded like it; null: floats
  const uint8_t* panel_flip = nullptr;  ///< per panel of the linear
  Activation activation = Activation::kNone;
  float clip = 0;
  float* floats = nullptr;  ///< where `inverse` is null
  size_t ld_floats = 0;
};

void gemm_requantize(Machine& machine, const PackedLinear& linear, Codes a, size_t rows,
                     const RequantizeTo& to);

/// The residual of a ResidualNorm: codes where its scale is above 0, else floats.
struct Residual {
  Codes codes;
  const float* floats = nullptr;
  size_t ld = 0;  ///< of floats
};

/// Where the codes of a product are kept until LayerNorm has whole rows of them.
struct LocalCodes {
  Codes codes;
  const float* inverse = nullptr;  ///< per column, padded like the linear
};

/// `local` is used where needs_local_codes(). `outputs` has one entry per norm.output_scales; float_out (row
/// stride ld_out) may be null.
void gemm_residual_norm(Machine& machine, const PackedLinear& linear, Codes a, size_t rows,
                        const ResidualNorm& norm, const Residual& residual, const LocalCodes& local,
                        const std::vector<Codes>& outputs, float* float_out, size_t ld_out);

/// A product that is quantized before LayerNorm goes through memory as codes, because cutting its columns
/// reads the weights less often than cutting its rows.
bool needs_local_codes(const GemmS8Kernel& kernel, const ResidualNorm& norm);

}  // namespace qdqbert::engine
