#include <algorithm>
#include <cstring>

#include "qdqbert/engine/kernels/pack.h"

namespace qdqbert::engine {

namespace {

constexpr size_t kBlockK = 64, kBlockColumns = 32, kHalf = 16, kGroup = 4;

/// Where a block of 64 k keeps the group and half of 16 columns.
struct Strides {
  size_t group, half;
};

Strides strides_of(const GemmS8Kernel& kernel) {
  return kernel.layout == PanelLayout::kTiles ? Strides{64, 1024} : Strides{128, 64};
}

/// The definition, for any k and columns; what is missing stays as it is.
void pack_scalar(const GemmS8Kernel& kernel, const MatrixS8& b, int8_t* codes, int32_t* sums) {
  const Strides to = strides_of(kernel);
  for (size_t c = 0; c < b.n; ++c)
    for (size_t k = 0; k < b.k; ++k) {
      const int8_t code = b.data[k * b.k_stride + c * b.n_stride];
      codes[k / kGroup * to.group + c / kHalf * to.half + c % kHalf * kGroup + k % kGroup] = code;
      sums[c] += code;
    }
}

/// One block, whole or at the edge of the matrix.
void pack_block(const GemmS8Kernel& kernel, const MatrixS8& b, int8_t* codes, int32_t* sums) {
  const Strides to = strides_of(kernel);
  const PackS8Block pack = b.n_stride == 1   ? kernel.pack_rows
                           : b.k_stride == 1 ? kernel.pack_columns
                                             : nullptr;
  const size_t ld = b.n_stride == 1 ? b.k_stride : b.n_stride;
  if (!pack) {
    std::memset(codes, 0, kBlockK * kBlockColumns);
    return pack_scalar(kernel, b, codes, sums);
  }
  if (b.k == kBlockK && b.n == kBlockColumns) return pack(b.data, ld, to.group, to.half, codes, sums);
  const size_t rows = b.n_stride == 1 ? b.k : b.n, width = b.n_stride == 1 ? b.n : b.k;
  const size_t whole = b.n_stride == 1 ? kBlockColumns : kBlockK;
  int8_t edge[kBlockK * kBlockColumns] = {};
  for (size_t r = 0; r < rows; ++r) std::memcpy(edge + r * whole, b.data + r * ld, width);
  pack(edge, whole, to.group, to.half, codes, sums);
}

}  // namespace

void pack_panels(const GemmS8Kernel& kernel, const MatrixS8& b, void* panels) {
  const size_t k_padded = padded_k(b.k);
  const size_t bytes = panel_bytes(kernel, k_padded);
  for (size_t p = 0; p < panel_count(kernel, b.n); ++p) {
    auto* panel = static_cast<unsigned char*>(panels) + p * bytes;
    auto* start = reinterpret_cast<int32_t*>(panel);
    auto* codes = reinterpret_cast<int8_t*>(start + kBlockColumns);
    const size_t first = p * kBlockColumns;
    int32_t sums[kBlockColumns] = {};
    for (size_t k = 0; k < k_padded; k += kBlockK, codes += kBlockK * kBlockColumns)
      pack_block(kernel,
                 {b.data + k * b.k_stride + first * b.n_stride, std::min(kBlockK, b.k - k),
                  std::min(kBlockColumns, b.n - first), b.k_stride, b.n_stride},
                 codes, sums);
    for (size_t c = 0; c < kBlockColumns; ++c) start[c] = kernel.unsigned_a ? -128 * sums[c] : 0;
  }
}

}  // namespace qdqbert::engine
