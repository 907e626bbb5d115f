// AMX tiles in plain C++, with the faults of the hardware, for machines that have none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace qdqbert::testing {

/// What ldtilecfg reads, as the manual has it.
struct TileConfiguration {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfiguration) == 64);

/// Eight tiles. What the hardware would refuse (#UD, #GP) is kept as a sentence in `fault` and does nothing.
class EmulatedTiles {
 public:
  void load_configuration(const void* from);
  void release();
  void zero(size_t tile);
  /// Row r of the tile is at from + r * stride.
  void load(size_t tile, const void* from, ptrdiff_t stride);
  void store(size_t tile, void* to, ptrdiff_t stride);
  /// sums[m][n] += a[m][4 k .. 4 k + 3] . b[k][4 n .. 4 n + 3], signed bytes (tdpbssd).
  void multiply(size_t sums, size_t a, size_t b);

  std::optional<TileConfiguration> configuration;
  const void* configured_from = nullptr;  ///< the operand of the last load_configuration()
  size_t products = 0;                    ///< calls of multiply()
  std::string fault;                      ///< the first one

 private:
  struct Tile {
    std::array<uint8_t, 1024> bytes;
    size_t rows, row_bytes;
  };
  /// Null, and a fault, where there is no such tile.
  Tile* tile(size_t index);
  void refuse(const char* what) {
    if (fault.empty()) fault = what;
  }

  std::array<Tile, 8> tiles_;
};

}  // namespace qdqbert::testing
