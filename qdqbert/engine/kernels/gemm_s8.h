// Contract of the INT8 matrix multiplication kernels.
//
//   acc[m][n] = sum over k of a[m][k] * b[k][n]        exactly, in int32
//
// with a signed 8-bit in [-128, 127] and b signed 8-bit in [-128, 127]. |acc| <= K * 2^14, so K < 2^17 cannot
// overflow; the plan refuses larger K. A kernel never rounds: everything in float happens in the epilogue
// (rows.h), which has one definition for all ISAs.
//
// B is packed into panels of `columns` columns:
//   int32 start[columns]                    what the accumulators begin with (the correction below, or zeros)
//   int8  codes[K / 4][columns][4]         a group of 4 consecutive k of one column lies side by side
// For AMX the codes of a panel are cut into tiles of 64 k x 16 columns, each tile contiguous (kTiles), and
// the start is always zero.
//
// This header holds declarations only, because ISA-suffixed files include it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "qdqbert/engine/kernels/pack_s8.h"
#include "qdqbert/engine/kernels/rows.h"

namespace qdqbert::engine {

/// K is padded with zero weights to a multiple of this; rows of A carry the same padding (any finite codes).
inline constexpr size_t kGemmKUnit = 64;

/// acc[0..rows)[0..columns) for one panel; `a` has row stride lda >= k bytes. k is a multiple of kGemmKUnit,
/// in kGroups also of half of it: then only so much of the panel is read.
using GemmS8Run = void (*)(const uint8_t* a, size_t lda, size_t rows, const void* panel, size_t k,
                           int32_t* acc, size_t ldacc);

/// Memory that will be read next and may be fetched meanwhile.
struct Ahead {
  const void* data;
  size_t bytes;
};

/// run() and requantize to codes in one: `to.rows` rows times to.n / columns panels, one behind the other.
/// `scratch` has kRequantizeScratch values and takes the place of to.acc; to.inverse is not null.
using GemmS8Requantize = void (*)(const uint8_t* a, size_t lda, const void* panels, size_t k,
                                  int32_t* scratch, const Ahead& ahead, const RequantizeArgs& to);
inline constexpr size_t kRequantizeScratch = 2048;

enum class PanelLayout : uint8_t { kGroups, kTiles };

/// The product in the kernel table (table_x86.cc, table_arm64.cc).
struct GemmS8Kernel {
  const char* name;  ///< ISA as QDQBERT_ISA spells it
  size_t
      rows;  ///< height of the register tile; run() takes any number of rows, multiples of this are fastest
  size_t least_rows;  ///< the lowest tile at nearly the same speed a row
  size_t columns;     ///< columns of one packed panel
  /// True: A is read as unsigned bytes holding a + 128 (the code with its top bit flipped) and the panel
  /// starts its accumulators at -128 * sum_k b[k][n]. False: A is read as signed bytes.
  bool unsigned_a;
  PanelLayout layout;
  /// A may be read (never used) up to the next multiple of this many rows.
  size_t row_overread;
  GemmS8Run run;
  GemmS8Requantize run_requantize;  ///< null: run(), then RowKernels::requantize
  /// On a thread before its first run() and after its last one (AMX tile state).
  void (*enter)();
  void (*leave)();
  /// Packing of a whole block where the columns or the k of B lie side by side; null: the scalar loop.
  PackS8Block pack_rows;
  PackS8Block pack_columns;
};

void gemm_s8_run_ref(const uint8_t*, size_t, size_t, const void*, size_t, int32_t*, size_t);
void gemm_s8_run_avx2(const uint8_t*, size_t, size_t, const void*, size_t, int32_t*, size_t);
void gemm_s8_run_avxvnni(const uint8_t*, size_t, size_t, const void*, size_t, int32_t*, size_t);
void gemm_s8_run_avx512vnni(const uint8_t*, size_t, size_t, const void*, size_t, int32_t*, size_t);
void gemm_s8_run_amxint8(const uint8_t*, size_t, size_t, const void*, size_t, int32_t*, size_t);
void gemm_s8_requantize_amxint8(const uint8_t*, size_t, const void*, size_t, int32_t*, const Ahead&,
                                const RequantizeArgs&);

/// What ldtilecfg reads. Everything that uses tiles enters through gemm_s8_enter_amxint8(), which loads the
/// one object of it, and gives them back through gemm_s8_leave_amxint8().
struct AmxConfiguration {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
extern const AmxConfiguration gemm_s8_configuration_amxint8;
void gemm_s8_enter_amxint8();
void gemm_s8_leave_amxint8();

}  // namespace qdqbert::engine
