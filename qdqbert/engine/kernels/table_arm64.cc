#include "qdqbert/engine/kernels/peak_s8.h"
#include "qdqbert/engine/kernels/select.h"

namespace qdqbert::engine {

namespace {

void nothing() {}

constexpr IsaKernels kTable[] = {
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
