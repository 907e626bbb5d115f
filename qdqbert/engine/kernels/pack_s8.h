// Packing of one block of B, 64 k x 32 columns, into the 2048 bytes that it takes in a panel.
//
// The block is 16 groups of 4 k in two halves of 16 columns. The 64 bytes of (group, half), 16 columns with 4
// k each, go to codes + group * group_stride + half * half_stride; sums[c] grows by the sum of column c.
//
// This header holds declarations only, because ISA-suffixed files include it.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace qdqbert::engine {

/// `b[k][c]` at k * ld + c.
using PackS8Block = void (*)(const int8_t* b, size_t ld, size_t group_stride, size_t half_stride,
                             int8_t* codes, int32_t* sums);

void pack_s8_rows_avx2(const int8_t*, size_t, size_t, size_t, int8_t*, int32_t*);
void pack_s8_rows_avx512(const int8_t*, size_t, size_t, size_t, int8_t*, int32_t*);
/// `b[k][c]` at k + c * ld.
void pack_s8_columns_avx2(const int8_t*, size_t, size_t, size_t, int8_t*, int32_t*);
void pack_s8_columns_avx512(const int8_t*, size_t, size_t, size_t, int8_t*, int32_t*);

}  // namespace qdqbert::engine
