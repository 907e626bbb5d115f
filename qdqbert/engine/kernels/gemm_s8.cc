#include <cstring>
#include <iterator>

#include "qdqbert/engine/kernels/pack.h"

namespace qdqbert::engine {

namespace {

void nothing() {}

constexpr GemmS8Kernel kTable[] = {
    {"amxint8", 32, 32, false, 4, PanelLayout::kTiles, 32, gemm_s8_run_amxint8, gemm_s8_enter_amxint8,
     gemm_s8_leave_amxint8},
    {"avx512vnni", 12, 32, true, 4, PanelLayout::kGroups, 1, gemm_s8_run_avx512vnni, nothing, nothing},
    {"avxvnni", 6, 32, true, 4, PanelLayout::kGroups, 1, gemm_s8_run_avxvnni, nothing, nothing},
    {"avx2", 4, 32, false, 2, PanelLayout::kGroups, 1, gemm_s8_run_avx2, nothing, nothing},
    {"ref", 1, 32, false, 4, PanelLayout::kGroups, 1, gemm_s8_run_ref, nothing, nothing},
};

size_t code_offset(const GemmS8Kernel& kernel, size_t k, size_t column) {
  if (kernel.layout == PanelLayout::kTiles) {
    const size_t tile = k / 64 * (kernel.columns / 16) + column / 16;
    return tile * 1024 + (k % 64 / 4 * 16 + column % 16) * 4 + k % 4;
  }
  return (k / kernel.group * kernel.columns + column) * kernel.group + k % kernel.group;
}

}  // namespace

GemmS8Table gemm_s8_kernels() {
  return {std::begin(kTable), std::end(kTable)};
}

const GemmS8Kernel* find_gemm_s8(const char* isa) {
  for (const GemmS8Kernel& kernel : kTable)
    if (std::strcmp(kernel.name, isa) == 0) return &kernel;
  return nullptr;
}

void pack_panels(const GemmS8Kernel& kernel, const MatrixS8& b, void* panels) {
  const size_t k_padded = padded_k(b.k);
  const size_t bytes = panel_bytes(kernel, k_padded);
  for (size_t p = 0; p < panel_count(kernel, b.n); ++p) {
    auto* panel = static_cast<unsigned char*>(panels) + p * bytes;
    std::memset(panel, 0, bytes);
    auto* start = reinterpret_cast<int32_t*>(panel);
    auto* codes = reinterpret_cast<int8_t*>(start + kernel.columns);
    for (size_t c = 0; c < kernel.columns && p * kernel.columns + c < b.n; ++c) {
      const int8_t* column = b.data + (p * kernel.columns + c) * b.n_stride;
      int32_t sum = 0;
      for (size_t k = 0; k < b.k; ++k) {
        const int8_t code = column[k * b.k_stride];
        sum += code;
        codes[code_offset(kernel, k, c)] = code;
      }
      if (kernel.unsigned_a) start[c] = -128 * sum;
    }
  }
}

}  // namespace qdqbert::engine
