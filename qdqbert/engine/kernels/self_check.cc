#include "qdqbert/engine/kernels/self_check.h"

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "qdqbert/base/log.h"
#include "qdqbert/engine/float_control.h"
#include "qdqbert/engine/kernels/illegal_instruction.h"
#include "qdqbert/engine/kernels/rows.h"
#include "qdqbert/engine/kernels/select.h"

namespace qdqbert::engine {

namespace {

// 33 rows and 40 columns leave a remainder in every register tile, 130 k one in every group, tile and packed
// block.
constexpr size_t kRows = 33, kK = 130, kColumns = 40;
constexpr size_t kPaddedK = 192, kPaddedColumns = 64, kReadRows = 64;
constexpr size_t kPanelBytes = kPaddedColumns * (sizeof(int32_t) + kPaddedK);

/// All that a product touches; nothing is allocated where an illegal instruction may end it.
struct alignas(64) Product {
  std::array<uint8_t, kPanelBytes> panels, panels_of_columns;
  std::array<uint8_t, kReadRows * kPaddedK> a;
  std::array<int32_t, kRows * kPaddedColumns> acc;
  std::array<int32_t, kRequantizeScratch> scratch;
  std::array<uint8_t, kRows * kPaddedColumns> codes;  ///< of run_requantize
};

/// GELU, whose code has the most operations, of sums in the thousands.
void requantize_arguments(Product& product, const auto& call) {
  std::array<float, kPaddedColumns> scale, bias, inverse;
  scale.fill(1e-4f);
  bias.fill(-0.25f);
  inverse.fill(20.0f);
  call(RequantizeArgs{product.acc.data(), kPaddedColumns, kRows, kPaddedColumns, scale.data(), bias.data(),
                      Activation::kGelu, 10.0f, inverse.data(), product.codes.data(), kPaddedColumns, 0,
                      nullptr, 0});
}

void multiply(const GemmS8Kernel& kernel, const int8_t* b, const int8_t* b_of_columns, Product& product) {
  pack_panels(kernel, {b, kK, kColumns, kColumns, 1}, product.panels.data());
  pack_panels(kernel, {b_of_columns, kK, kColumns, 1, kK}, product.panels_of_columns.data());
  kernel.enter();
  for (size_t p = 0; p < panel_count(kernel, kColumns); ++p)
    kernel.run(product.a.data(), kPaddedK, kRows, product.panels.data() + p * panel_bytes(kernel, kPaddedK),
               kPaddedK, product.acc.data() + p * kernel.columns, kPaddedColumns);
  if (kernel.run_requantize)
    requantize_arguments(product, [&](const RequantizeArgs& to) {
      kernel.run_requantize(product.a.data(), kPaddedK, product.panels.data(), kPaddedK,
                            product.scratch.data(), {nullptr, 0}, to);
    });
  kernel.leave();
}

/// False: it met an illegal instruction.
bool multiply_random_codes(const GemmS8Kernel& kernel, Product& product) {
  std::minstd_rand random(5);
  std::array<int8_t, kK * kColumns> b, b_of_columns;
  for (size_t k = 0; k < kK; ++k)
    for (size_t n = 0; n < kColumns; ++n)
      b_of_columns[n * kK + k] = b[k * kColumns + n] = static_cast<int8_t>(random() >> 8);
  const uint8_t flip = kernel.unsigned_a ? 0x80 : 0;
  for (uint8_t& code : product.a) code = static_cast<uint8_t>(random() >> 8) ^ flip;
  return survives([&] { multiply(kernel, b.data(), b_of_columns.data(), product); });
}

/// Of both kinds of kernels that an ISA selects.
std::string fault_of(Isa isa) {
  std::vector<std::string> faults;
  for (const std::string& fault : {fault_of(gemm_s8_for(isa)), fault_of(rows_for(isa))})
    if (!fault.empty()) faults.push_back(fault);
  return fmt::format("{}", fmt::join(faults, ", "));
}

}  // namespace

std::string fault_of(const GemmS8Kernel& kernel) {
  const StandardFloatControl control;
  const auto expected = std::make_unique<Product>(), found = std::make_unique<Product>();
  multiply_random_codes(*find_gemm_s8("ref"), *expected);
  if (!multiply_random_codes(kernel, *found)) {
    // It may have stopped between the two.
    survives([&] { kernel.leave(); });
    return "gemm_s8 meets an illegal instruction";
  }
  if (found->panels != found->panels_of_columns) return "pack_s8 packs wrongly";
  if (found->acc != expected->acc) return "gemm_s8 multiplies wrongly";
  if (kernel.run_requantize) {
    requantize_arguments(*expected, [](const RequantizeArgs& to) { rows_ref().requantize(to); });
    if (found->codes != expected->codes) return "gemm_s8 requantizes wrongly";
  }
  return "";
}

CheckedIsa checked_isa(Isa isa) {
  static std::mutex mutex;
  static std::map<Isa, std::string> faults;
  const std::lock_guard lock(mutex);
  CheckedIsa checked{isa, ""};
  bool news = false;
  // The table is in order of preference, the reference is its last.
  const std::span<const IsaKernels> table = isa_kernels();
  for (const IsaKernels& row : table.subspan(static_cast<size_t>(&kernels_for(isa) - table.data()))) {
    checked.isa = isa_named(row.gemm.name).value();
    if (checked.isa == Isa::kRef) break;
    if (!supports(checked.isa)) continue;
    const auto [verdict, first] = faults.try_emplace(checked.isa);
    if (first) verdict->second = fault_of(checked.isa);
    if (verdict->second.empty()) break;
    news = news || first;
    checked.left_out +=
        fmt::format("{}{} ({})", checked.left_out.empty() ? "" : ", ", row.gemm.name, verdict->second);
  }
  if (news)
    log_warning("[kernels] left out on this machine: {}; {} is used instead", checked.left_out,
                name_of(checked.isa));
  return checked;
}

}  // namespace qdqbert::engine
