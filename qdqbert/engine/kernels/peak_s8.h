// Loops of nothing but a GEMM kernel's own multiply-accumulate on registers: what its share of the peak is
// taken of.
//
// This header holds declarations only, because ISA-suffixed files include it.
#pragma once

#include <stddef.h>

namespace qdqbert::engine {

/// Runs `rounds` rounds; returns the operations done (a multiplication and an addition count as two).
double peak_s8_ref(size_t rounds);
double peak_s8_avx2(size_t rounds);
double peak_s8_avxvnni(size_t rounds);
double peak_s8_avx512vnni(size_t rounds);
/// Between gemm_s8_enter_amxint8() and gemm_s8_leave_amxint8().
double peak_s8_amxint8(size_t rounds);

}  // namespace qdqbert::engine
