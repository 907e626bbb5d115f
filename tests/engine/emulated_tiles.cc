#include "tests/engine/emulated_tiles.h"

#include <cstring>

namespace qdqbert::testing {

void EmulatedTiles::load_configuration(const void* from) {
  TileConfiguration c;
  std::memcpy(&c, from, sizeof(c));
  configured_from = from;
  if (c.palette != 1) return refuse("ldtilecfg: the palette is not 1");
  if (c.start_row != 0) return refuse("ldtilecfg: loads would begin in the middle of a tile");
  for (const uint8_t byte : c.reserved)
    if (byte != 0) return refuse("ldtilecfg: a reserved byte is not 0");
  for (size_t t = 0; t < 16; ++t) {
    if (t >= tiles_.size() && (c.rows[t] != 0 || c.row_bytes[t] != 0))
      return refuse("ldtilecfg: more than eight tiles");
    if (c.rows[t] > 16 || c.row_bytes[t] > 64) return refuse("ldtilecfg: a tile is larger than 16 x 64");
  }
  configuration = c;
  for (size_t t = 0; t < tiles_.size(); ++t) tiles_[t] = {{}, c.rows[t], c.row_bytes[t]};
}

void EmulatedTiles::release() {
  configuration.reset();
}

EmulatedTiles::Tile* EmulatedTiles::tile(size_t index) {
  if (!configuration) {
    refuse("a tile instruction without a configuration");
    return nullptr;
  }
  Tile& found = tiles_.at(index);
  if (found.rows == 0 || found.row_bytes == 0) {
    refuse("a tile of no rows or no columns");
    return nullptr;
  }
  return &found;
}

void EmulatedTiles::zero(size_t index) {
  if (Tile* t = tile(index)) t->bytes = {};
}

void EmulatedTiles::load(size_t index, const void* from, ptrdiff_t stride) {
  Tile* t = tile(index);
  if (!t) return;
  t->bytes = {};
  const auto* row = static_cast<const uint8_t*>(from);
  for (size_t r = 0; r < t->rows; ++r, row += stride)
    std::memcpy(t->bytes.data() + r * 64, row, t->row_bytes);
}

void EmulatedTiles::store(size_t index, void* to, ptrdiff_t stride) {
  const Tile* t = tile(index);
  if (!t) return;
  auto* row = static_cast<uint8_t*>(to);
  for (size_t r = 0; r < t->rows; ++r, row += stride)
    std::memcpy(row, t->bytes.data() + r * 64, t->row_bytes);
}

void EmulatedTiles::multiply(size_t sums, size_t a, size_t b) {
  Tile *to = tile(sums), *left = tile(a), *right = tile(b);
  if (!to || !left || !right) return;
  if (to == left || to == right || left == right) return refuse("tdpbssd: one tile twice");
  if (to->rows != left->rows || left->row_bytes != 4 * right->rows || to->row_bytes != right->row_bytes ||
      to->row_bytes % 4 != 0)
    return refuse("tdpbssd: tiles that do not fit together");
  ++products;
  const auto byte = [](const Tile* t, size_t row, size_t at) {
    return static_cast<int32_t>(static_cast<int8_t>(t->bytes[row * 64 + at]));
  };
  for (size_t m = 0; m < to->rows; ++m)
    for (size_t n = 0; n < to->row_bytes / 4; ++n) {
      uint32_t sum;
      std::memcpy(&sum, to->bytes.data() + m * 64 + n * 4, 4);
      for (size_t k = 0; k < right->rows; ++k)
        for (size_t j = 0; j < 4; ++j)
          sum += static_cast<uint32_t>(byte(left, m, 4 * k + j) * byte(right, k, 4 * n + j));
      std::memcpy(to->bytes.data() + m * 64 + n * 4, &sum, 4);
    }
}

}  // namespace qdqbert::testing
