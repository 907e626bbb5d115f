#include <immintrin.h>

#include "qdqbert/text/byte_classes.h"

namespace qdqbert::text {

namespace {

struct Bits {
  uint64_t word, space, other;
};

/// All ones where low <= x <= low + span, unsigned.
__m256i within(__m256i x, char low, char span) {
  const __m256i from_low = _mm256_sub_epi8(x, _mm256_set1_epi8(low));
  return _mm256_cmpeq_epi8(_mm256_min_epu8(from_low, _mm256_set1_epi8(span)), from_low);
}

uint64_t bits_of(__m256i mask) {
  return static_cast<uint32_t>(_mm256_movemask_epi8(mask));
}

Bits classify_32(const unsigned char* bytes, __m256i fold, unsigned char* folded) {
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
  const __m256i lower = _mm256_or_si256(x, _mm256_set1_epi8(0x20));
  const __m256i alpha = within(lower, 'a', 25);
  const __m256i word = _mm256_or_si256(alpha, within(x, '0', 9));
  const __m256i space =
      _mm256_or_si256(within(x, '\t', 1), _mm256_or_si256(_mm256_cmpeq_epi8(x, _mm256_set1_epi8(' ')),
                                                          _mm256_cmpeq_epi8(x, _mm256_set1_epi8('\r'))));
  const __m256i known = _mm256_or_si256(within(x, ' ', 0x5e), space);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(folded),
                      _mm256_blendv_epi8(x, lower, _mm256_and_si256(alpha, fold)));
  return {bits_of(word), bits_of(space), bits_of(known) ^ 0xffffffffu};
}

Bits classify_64(const unsigned char* bytes, __m256i fold, unsigned char* folded) {
  const Bits a = classify_32(bytes, fold, folded);
  const Bits b = classify_32(bytes + 32, fold, folded + 32);
  return {a.word | b.word << 32, a.space | b.space << 32, a.other | b.other << 32};
}

}  // namespace

void classify_bytes_avx2(const unsigned char* bytes, size_t size, bool lower_case, ByteClasses* out) {
  const __m256i fold = _mm256_set1_epi8(lower_case ? -1 : 0);
  uint64_t any_other = 0;
  size_t i = 0;
  for (; i + 64 <= size; i += 64) {
    const Bits bits = classify_64(bytes + i, fold, out->folded + i);
    out->word[i / 64] = bits.word;
    out->space[i / 64] = bits.space;
    out->other[i / 64] = bits.other;
    any_other |= bits.other;
  }
  // The tail is copied so that nothing behind the text is read. Zeros count as "other" and are masked.
  unsigned char tail[64] = {};
  for (size_t j = 0; i + j < size; ++j) tail[j] = bytes[i + j];
  const Bits bits = classify_64(tail, fold, out->folded + i);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out->folded + i + 64), _mm256_setzero_si256());
  const uint64_t valid = ~(~uint64_t{0} << (size - i));
  out->word[i / 64] = bits.word;
  out->space[i / 64] = bits.space;
  out->other[i / 64] = bits.other & valid;
  out->word[i / 64 + 1] = out->space[i / 64 + 1] = out->other[i / 64 + 1] = 0;
  out->any_other = any_other | (bits.other & valid);
}

}  // namespace qdqbert::text
