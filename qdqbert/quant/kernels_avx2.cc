#include <immintrin.h>

#include "qdqbert/quant/kernels.h"

namespace qdqbert::quant {

namespace {

constexpr float kTwo63 = 9223372036854775808.0f;
constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

// A tail of fewer than eight elements is read and written under a mask whose lane i is on for i < n.
__m256i tail_mask(size_t n) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lanes);
}

__m256 magnitude_of(__m256 x) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

// min and max return their second operand when one is NaN, so the value must come second to keep its NaN.
__m256 clamp_keeping_nan(__m256 value, __m256 lower, __m256 upper) {
  return _mm256_min_ps(upper, _mm256_max_ps(lower, value));
}

unsigned quantize(const float* x, float* y, size_t n, float scale, float divisor, float lower, float upper) {
  const __m256 s = _mm256_set1_ps(scale), d = _mm256_set1_ps(divisor);
  const __m256 lo = _mm256_set1_ps(lower), hi = _mm256_set1_ps(upper), zero = _mm256_setzero_ps();
  __m256 negative = zero, nan = zero;
  const auto one = [&](__m256 v) __attribute__((always_inline)) {
    negative = _mm256_or_ps(negative, _mm256_cmp_ps(v, zero, _CMP_LT_OQ));
    nan = _mm256_or_ps(nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256 q = clamp_keeping_nan(_mm256_round_ps(_mm256_mul_ps(v, s), kNearest), lo, hi);
    return _mm256_div_ps(q, d);
  };
  size_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, one(_mm256_loadu_ps(x + i)));
  if (i < n) {
    const __m256i mask = tail_mask(n - i);
    _mm256_maskstore_ps(y + i, mask, one(_mm256_maskload_ps(x + i, mask)));
  }
  return (_mm256_movemask_ps(negative) ? kSawNegative : 0) | (_mm256_movemask_ps(nan) ? kSawNan : 0);
}

void affine(const float* x, float* y, size_t n, float inverse, float step, float lower, float upper,
            float overflow) {
  const __m256 inv = _mm256_set1_ps(inverse), t = _mm256_set1_ps(step), lo = _mm256_set1_ps(lower);
  const __m256 hi = _mm256_set1_ps(upper), over = _mm256_set1_ps(overflow), two63 = _mm256_set1_ps(kTwo63);
  const __m256 minus_infinity = _mm256_set1_ps(-__builtin_inff()), zero = _mm256_setzero_ps();
  const auto one = [&](__m256 v) __attribute__((always_inline)) {
    __m256 r = _mm256_round_ps(_mm256_mul_ps(v, inv), kNearest);
    r = _mm256_blendv_ps(r, over, _mm256_cmp_ps(r, two63, _CMP_GE_OQ));
    r = _mm256_blendv_ps(r, minus_infinity, _mm256_cmp_ps(r, r, _CMP_UNORD_Q));
    return _mm256_mul_ps(_mm256_add_ps(clamp_keeping_nan(r, lo, hi), zero), t);
  };
  size_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, one(_mm256_loadu_ps(x + i)));
  if (i < n) {
    const __m256i mask = tail_mask(n - i);
    _mm256_maskstore_ps(y + i, mask, one(_mm256_maskload_ps(x + i, mask)));
  }
}

void pass_inside(const float* x, const float* g, float* out, size_t n, float amax) {
  const __m256 limit = _mm256_set1_ps(amax);
  const auto one = [&](__m256 v, __m256 grad) __attribute__((always_inline)) {
    return _mm256_and_ps(grad, _mm256_cmp_ps(magnitude_of(v), limit, _CMP_LE_OQ));
  };
  size_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, one(_mm256_loadu_ps(x + i), _mm256_loadu_ps(g + i)));
  if (i < n) {
    const __m256i mask = tail_mask(n - i);
    _mm256_maskstore_ps(out + i, mask, one(_mm256_maskload_ps(x + i, mask), _mm256_maskload_ps(g + i, mask)));
  }
}

void pass_affine(const float* x, const float* g, float* out, size_t n, float inverse, float lower,
                 float upper) {
  const __m256 inv = _mm256_set1_ps(inverse), lo = _mm256_set1_ps(lower), hi = _mm256_set1_ps(upper);
  const auto one = [&](__m256 v, __m256 grad) __attribute__((always_inline)) {
    const __m256 r = _mm256_round_ps(_mm256_mul_ps(v, inv), kNearest);
    const __m256 inside = _mm256_and_ps(_mm256_cmp_ps(lo, r, _CMP_LE_OQ), _mm256_cmp_ps(r, hi, _CMP_LE_OQ));
    return _mm256_and_ps(grad, inside);
  };
  size_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, one(_mm256_loadu_ps(x + i), _mm256_loadu_ps(g + i)));
  if (i < n) {
    const __m256i mask = tail_mask(n - i);
    _mm256_maskstore_ps(out + i, mask, one(_mm256_maskload_ps(x + i, mask), _mm256_maskload_ps(g + i, mask)));
  }
}

// Elements before bit `offset` reaches a byte, and the bits themselves where they are not whole bytes.
size_t bits_before_byte(size_t offset, size_t n) {
  const size_t before = (8 - offset % 8) % 8;
  return before < n ? before : n;
}

void put_bits(uint8_t* mask, size_t offset, size_t count, unsigned bits) {
  const unsigned where = ((1u << count) - 1) << offset % 8;
  mask[offset / 8] = static_cast<uint8_t>((mask[offset / 8] & ~where) | (bits << offset % 8 & where));
}

/// `passes(v)`: all bits of a lane are set where the gradient passes.
template <class Passes>
inline __attribute__((always_inline)) void mark(const float* x, size_t n, uint8_t* mask, size_t offset,
                                                const Passes& passes) {
  const auto some = [&](size_t at, size_t count) __attribute__((always_inline)) {
    const __m256 v = _mm256_maskload_ps(x + at, tail_mask(count));
    put_bits(mask, offset + at, count, static_cast<unsigned>(_mm256_movemask_ps(passes(v))));
  };
  size_t i = bits_before_byte(offset, n);
  if (i > 0) some(0, i);
  for (; i + 8 <= n; i += 8)
    mask[(offset + i) / 8] = static_cast<uint8_t>(_mm256_movemask_ps(passes(_mm256_loadu_ps(x + i))));
  if (i < n) some(i, n - i);
}

void mark_inside(const float* x, size_t n, float amax, uint8_t* mask, size_t offset) {
  const __m256 limit = _mm256_set1_ps(amax);
  mark(
      x, n, mask, offset, [&](__m256 v) __attribute__((always_inline)) {
        return _mm256_cmp_ps(magnitude_of(v), limit, _CMP_LE_OQ);
      });
}

void mark_affine(const float* x, size_t n, float inverse, float lower, float upper, uint8_t* mask,
                 size_t offset) {
  const __m256 inv = _mm256_set1_ps(inverse), lo = _mm256_set1_ps(lower), hi = _mm256_set1_ps(upper);
  mark(
      x, n, mask, offset, [&](__m256 v) __attribute__((always_inline)) {
        const __m256 r = _mm256_round_ps(_mm256_mul_ps(v, inv), kNearest);
        return _mm256_and_ps(_mm256_cmp_ps(lo, r, _CMP_LE_OQ), _mm256_cmp_ps(r, hi, _CMP_LE_OQ));
      });
}

Magnitudes magnitudes(const float* x, size_t n) {
  const __m256 zero = _mm256_setzero_ps(), infinity = _mm256_set1_ps(__builtin_inff());
  __m256 largest[2] = {zero, zero}, smallest[2] = {infinity, infinity};
  __m256 saw_zero = zero, saw_negative = zero, saw_nan = zero;
  const auto one = [&](__m256 v, int k) __attribute__((always_inline)) {
    const __m256 m = magnitude_of(v);
    const __m256 is_zero = _mm256_cmp_ps(m, zero, _CMP_EQ_OQ);
    saw_zero = _mm256_or_ps(saw_zero, is_zero);
    saw_negative = _mm256_or_ps(saw_negative, _mm256_cmp_ps(v, zero, _CMP_LT_OQ));
    saw_nan = _mm256_or_ps(saw_nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    largest[k] = _mm256_max_ps(m, largest[k]);
    smallest[k] = _mm256_min_ps(_mm256_blendv_ps(m, infinity, is_zero), smallest[k]);
  };
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    one(_mm256_loadu_ps(x + i), 0);
    one(_mm256_loadu_ps(x + i + 8), 1);
  }
  Magnitudes found;
  for (; i + 8 <= n; i += 8) one(_mm256_loadu_ps(x + i), 0);
  float high[8], low[8];
  _mm256_storeu_ps(high, _mm256_max_ps(largest[0], largest[1]));
  _mm256_storeu_ps(low, _mm256_min_ps(smallest[0], smallest[1]));
  found.largest = high[0];
  found.smallest_nonzero = low[0];
  for (int k = 1; k < 8; ++k) {
    if (high[k] > found.largest) found.largest = high[k];
    if (low[k] < found.smallest_nonzero) found.smallest_nonzero = low[k];
  }
  found.saw_zero = _mm256_movemask_ps(saw_zero) != 0;
  found.saw_negative = _mm256_movemask_ps(saw_negative) != 0;
  found.saw_nan = _mm256_movemask_ps(saw_nan) != 0;
  for (; i < n; ++i) {
    const float m = __builtin_fabsf(x[i]);
    found.saw_negative |= x[i] < 0;
    found.saw_nan |= x[i] != x[i];
    found.saw_zero |= m == 0;
    if (m > found.largest) found.largest = m;
    if (m > 0 && m < found.smallest_nonzero) found.smallest_nonzero = m;
  }
  return found;
}

void count_one(float magnitude, size_t table, const BinRule* rule, uint32_t* counts) {
  const float* thresholds = rule->thresholds;
  if (magnitude < thresholds[0] || magnitude > rule->last || (rule->skip_zeros && magnitude == 0)) return;
  int32_t bin = static_cast<int32_t>((magnitude - rule->origin) * rule->inverse_width);
  if (bin > rule->bins - 1) bin = rule->bins - 1;
  while (magnitude < thresholds[bin]) --bin;
  while (bin < rule->bins - 1 && magnitude >= thresholds[bin + 1]) ++bin;
  ++counts[table * static_cast<size_t>(rule->bins) + static_cast<size_t>(bin)];
}

void count(const float* x, size_t n, const BinRule* rule, uint32_t* counts) {
  const float smallest =
      rule->skip_zeros && rule->thresholds[0] <= 0 ? __FLT_DENORM_MIN__ : rule->thresholds[0];
  const __m256 first = _mm256_set1_ps(smallest), last = _mm256_set1_ps(rule->last);
  const __m256 origin = _mm256_set1_ps(rule->origin), inverse = _mm256_set1_ps(rule->inverse_width);
  const __m256 low = _mm256_set1_ps(rule->margin), high = _mm256_set1_ps(1.0f - rule->margin);
  const __m256 end = _mm256_set1_ps(static_cast<float>(rule->bins));
  uint32_t* tables[kCountTables];
  for (size_t t = 0; t < kCountTables; ++t) tables[t] = counts + t * static_cast<size_t>(rule->bins);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 m = magnitude_of(_mm256_loadu_ps(x + i));
    const __m256 f = _mm256_mul_ps(_mm256_sub_ps(m, origin), inverse);
    const __m256 whole = _mm256_round_ps(f, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    const __m256 fraction = _mm256_sub_ps(f, whole);
    // Bin 0 has nothing below it, so there the first threshold decides alone.
    __m256 sure = _mm256_or_ps(_mm256_cmp_ps(fraction, low, _CMP_GT_OQ), _mm256_cmp_ps(f, high, _CMP_LT_OQ));
    sure = _mm256_and_ps(sure, _mm256_cmp_ps(fraction, high, _CMP_LT_OQ));
    sure = _mm256_and_ps(sure, _mm256_cmp_ps(m, first, _CMP_GE_OQ));
    sure = _mm256_and_ps(sure, _mm256_cmp_ps(m, last, _CMP_LE_OQ));
    sure = _mm256_and_ps(sure, _mm256_cmp_ps(whole, end, _CMP_LT_OQ));
    const int certain = _mm256_movemask_ps(sure);
    alignas(32) int32_t bins[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(bins), _mm256_cvttps_epi32(whole));
    if (certain == 0xff) {
      for (size_t k = 0; k < 8; ++k) ++tables[k % kCountTables][bins[k]];
      continue;
    }
    alignas(32) float magnitudes[8];
    _mm256_store_ps(magnitudes, m);
    for (size_t k = 0; k < 8; ++k) {
      if (certain >> k & 1) {
        ++tables[k % kCountTables][bins[k]];
      } else {
        count_one(magnitudes[k], k % kCountTables, rule, counts);
      }
    }
  }
  for (; i < n; ++i) count_one(__builtin_fabsf(x[i]), i % kCountTables, rule, counts);
}

}  // namespace

const Kernels kKernelsAvx2 = {"avx2",      quantize,    affine,     pass_inside, pass_affine,
                              mark_inside, mark_affine, magnitudes, count};

}  // namespace qdqbert::quant
