#include <cstring>
#include <iterator>

#include "qdqbert/engine/kernels/pack.h"

namespace qdqbert::engine {

namespace {

void nothing() {}

constexpr GemmS8Kernel kTable[] = {
    {"amxint8", 32, 16, 32, false, PanelLayout::kTiles, 32, gemm_s8_run_amxint8, gemm_s8_enter_amxint8,
     gemm_s8_leave_amxint8, pack_s8_rows_avx512, pack_s8_columns_avx512},
    {"avx512vnni", 12, 4, 32, true, PanelLayout::kGroups, 1, gemm_s8_run_avx512vnni, nothing, nothing,
     pack_s8_rows_avx512, pack_s8_columns_avx512},
    {"avxvnni", 6, 4, 32, true, PanelLayout::kGroups, 1, gemm_s8_run_avxvnni, nothing, nothing,
     pack_s8_rows_avx2, pack_s8_columns_avx2},
    {"avx2", 6, 2, 32, false, PanelLayout::kGroups, 1, gemm_s8_run_avx2, nothing, nothing, pack_s8_rows_avx2,
     pack_s8_columns_avx2},
    {"ref", 1, 1, 32, false, PanelLayout::kGroups, 1, gemm_s8_run_ref, nothing, nothing, nullptr, nullptr},
};

}  // namespace

GemmS8Table gemm_s8_kernels() {
  return {std::begin(kTable), std::end(kTable)};
}

const GemmS8Kernel* find_gemm_s8(const char* isa) {
  for (const GemmS8Kernel& kernel : kTable)
    if (std::strcmp(kernel.name, isa) == 0) return &kernel;
  return nullptr;
}

}  // namespace qdqbert::engine
