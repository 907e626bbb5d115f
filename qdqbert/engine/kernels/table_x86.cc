#include "qdqbert/engine/kernels/peak_s8.h"
#include "qdqbert/engine/kernels/select.h"

namespace qdqbert::engine {

namespace {

void nothing() {}

constexpr IsaKernels kTable[] = {
    {{"amxint8", 32, 16, 32, false, PanelLayout::kTiles, 32, gemm_s8_run_amxint8, gemm_s8_requantize_amxint8,
      gemm_s8_enter_amxint8, gemm_s8_leave_amxint8, pack_s8_rows_avx512, pack_s8_columns_avx512},
     rows_avx512,
     peak_s8_amxint8},
    {{"avx512vnni", 12, 4, 32, true, PanelLayout::kGroups, 1, gemm_s8_run_avx512vnni, nullptr, nothing,
      nothing, pack_s8_rows_avx512, pack_s8_columns_avx512},
     rows_avx512,
     peak_s8_avx512vnni},
    {{"avxvnni", 6, 4, 32, true, PanelLayout::kGroups, 1, gemm_s8_run_avxvnni, nullptr, nothing, nothing,
      pack_s8_rows_avx2, pack_s8_columns_avx2},
     rows_avx2,
     peak_s8_avxvnni},
    {{"avx2", 6, 2, 32, false, PanelLayout::kGroups, 1, gemm_s8_run_avx2, nullptr, nothing, nothing,
      pack_s8_rows_avx2, pack_s8_columns_avx2},
     rows_avx2,
     peak_s8_avx2},
    {{"ref", 1, 1, 32, false, PanelLayout::kGroups, 1, gemm_s8_run_ref, nullptr, nothing, nothing, nullptr,
      nullptr},
     rows_ref,
     peak_s8_ref},
};

}  // namespace

std::span<const IsaKernels> isa_kernels() {
  return kTable;
}

}  // namespace qdqbert::engine
