// Four sums hide the latency of 52 cycles at one tdpbssd in 16; each is 16 x 16 x 64 multiply-adds.
#include <immintrin.h>

#include "qdqbert/engine/kernels/peak_s8.h"

namespace qdqbert::engine {

double peak_s8_amxint8(const int8_t* codes, size_t rounds) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, codes, 64);
  _tile_loadd(5, codes + 1024, 64);
  _tile_loadd(6, codes + 2048, 64);
  _tile_loadd(7, codes + 3072, 64);
  for (size_t i = 0; i < rounds; ++i) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  return static_cast<double>(rounds) * 4 * 32768;
}

}  // namespace qdqbert::engine
