// The shape of all tiles, and the only place that gives it to the hardware.
//
// _tile_loadconfig() of g++ says that ldtilecfg reads 8 bytes of its operand. Of a configuration that a
// function writes and then loads, g++ 12 removes the rest: tiles of no rows, and the first tile instruction
// is an illegal one. So here is an object that nobody writes: constant, with external linkage, so that all of
// its bytes are in the object file whatever a compiler thinks is read of it, and the whole object is the
// operand.
#include <immintrin.h>

#include "qdqbert/engine/kernels/gemm_s8.h"

namespace qdqbert::engine {

alignas(64) constinit const AmxConfiguration gemm_s8_configuration_amxint8 = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

void gemm_s8_enter_amxint8() {
  static_assert(sizeof(gemm_s8_configuration_amxint8) == 64);
  asm volatile("ldtilecfg %0" : : "m"(gemm_s8_configuration_amxint8));
}

void gemm_s8_leave_amxint8() {
  _tile_release();
}

}  // namespace qdqbert::engine
