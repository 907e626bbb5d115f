#include <immintrin.h>

#include "qdqbert/engine/kernels/rows.h"

namespace qdqbert::engine {

namespace {

constexpr bool kOneMultiplier = false;
#include "qdqbert/engine/kernels/lanes_avx512.inc"

constexpr size_t kLinearRows = 12, kLinearPanels = 2, kTogether = 4;
#include "qdqbert/engine/kernels/rows_generic.inc"

const RowKernels kernels = {"avx512",   requantize, residual_layernorm, softmax,  quantize,
                            dequantize, add,        linear_f32,         activate, exp_array};

}  // namespace

const RowKernels& rows_avx512() {
  return kernels;
}

}  // namespace qdqbert::engine
