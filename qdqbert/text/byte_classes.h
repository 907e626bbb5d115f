// Which bytes of a stretch of text belong to words, which separate them: one bit a byte, 64 bytes at a time.
// Included by files with an ISA suffix: declarations only.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace qdqbert::text {

/// Bytes that are looked at together.
constexpr size_t kBlock = 2048;
/// Words of 64 bits that hold a block, and two more, so that 64 bits can be read from any of its bits.
constexpr size_t kBlockWords = kBlock / 64 + 2;

/// Bit i % 64 of entry i / 64 is for byte i. Bits from `size` on are 0.
struct ByteClasses {
  uint64_t word[kBlockWords];   ///< ASCII letters and digits
  uint64_t space[kBlockWords];  ///< U+0020 and what becomes it
  /// Not ASCII, or a control character; what is in none of the three is punctuation.
  uint64_t other[kBlockWords];
  uint64_t any_other;  ///< not 0 when `other` has a bit
  /// The bytes, ASCII letters in lower case when asked for; then at least 16 zeros.
  unsigned char folded[kBlock + 128];
};

/// Fills entries 0 to size / 64 + 1 and size + 16 bytes of `folded`. `size` <= kBlock.
using ClassifyBytes = void (*)(const unsigned char* bytes, size_t size, bool lower_case, ByteClasses* out);

void classify_bytes_ref(const unsigned char* bytes, size_t size, bool lower_case, ByteClasses* out);
void classify_bytes_avx2(const unsigned char* bytes, size_t size, bool lower_case, ByteClasses* out);

/// The fastest of them that QDQBERT_ISA and this processor allow
/// (byte_classes_x86.cc, byte_classes_arm64.cc).
ClassifyBytes classify_bytes();

}  // namespace qdqbert::text
