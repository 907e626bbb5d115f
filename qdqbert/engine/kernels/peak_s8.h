// Loops of nothing but a GEMM kernel's own multiply-accumulate on registers: what its share of the peak is
// taken of.
//
// This header holds declarations only, because ISA-suffixed files include it.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace qdqbert::engine {

/// Bytes behind `codes`.
inline constexpr size_t kPeakCodes = 4096;

/// Runs `rounds` rounds over `codes` (aligned to 64 bytes); returns the operations done (a multiplication and
/// an addition count as two). Random codes cost the power that real ones do: zeros leave most of a multiplier
/// at rest, and the clock is higher than any product ever sees.
double peak_s8_ref(const int8_t* codes, size_t rounds);
double peak_s8_avx2(const int8_t* codes, size_t rounds);
double peak_s8_avxvnni(const int8_t* codes, size_t rounds);
double peak_s8_avx512vnni(const int8_t* codes, size_t rounds);
/// Between gemm_s8_enter_amxint8() and gemm_s8_leave_amxint8().
double peak_s8_amxint8(const int8_t* codes, size_t rounds);

}  // namespace qdqbert::engine
