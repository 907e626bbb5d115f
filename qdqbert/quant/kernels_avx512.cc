#include <immintrin.h>

#include "qdqbert/quant/kernels.h"

namespace qdqbert::quant {

namespace {

constexpr float kTwo63 = 9223372036854775808.0f;
constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

__mmask16 lanes(size_t n) {
  return n >= 16 ? 0xffff : static_cast<__mmask16>((1u << n) - 1);
}

// Elements before `p` is aligned: a store that crosses a cache line costs as much as two.
size_t head(const float* p, size_t n) {
  const size_t misaligned = reinterpret_cast<uintptr_t>(p) / sizeof(float) % 16;
  const size_t before = misaligned == 0 ? 0 : 16 - misaligned;
  return before < n ? before : n;
}

// min and max return their second operand when one is NaN, so the value must come second to keep its NaN.
__m512 clamp_keeping_nan(__m512 value, __m512 lower, __m512 upper) {
  return _mm512_min_ps(upper, _mm512_max_ps(lower, value));
}

unsigned quantize(const float* x, float* y, size_t n, float scale, float divisor, float lower, float upper) {
  const __m512 s = _mm512_set1_ps(scale), d = _mm512_set1_ps(divisor);
  const __m512 lo = _mm512_set1_ps(lower), hi = _mm512_set1_ps(upper), zero = _mm512_setzero_ps();
  unsigned negative = 0, nan = 0;
  const auto one = [&](__m512 v) __attribute__((always_inline)) {
    negative |= _mm512_cmp_ps_mask(v, zero, _CMP_LT_OQ);
    nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    const __m512 q = clamp_keeping_nan(_mm512_roundscale_ps(_mm512_mul_ps(v, s), kNearest), lo, hi);
    return _mm512_div_ps(q, d);
  };
  const auto some = [&](size_t at, size_t count) __attribute__((always_inline)) {
    const __mmask16 mask = lanes(count);
    _mm512_mask_storeu_ps(y + at, mask, one(_mm512_maskz_loadu_ps(mask, x + at)));
  };
  size_t i = head(y, n);
  if (i > 0) some(0, i);
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(y + i, one(_mm512_loadu_ps(x + i)));
  if (i < n) some(i, n - i);
  return (negative ? kSawNegative : 0) | (nan ? kSawNan : 0);
}

void affine(const float* x, float* y, size_t n, float inverse, float step, float lower, float upper,
            float overflow) {
  const __m512 inv = _mm512_set1_ps(inverse), t = _mm512_set1_ps(step), lo = _mm512_set1_ps(lower);
  const __m512 hi = _mm512_set1_ps(upper), over = _mm512_set1_ps(overflow), two63 = _mm512_set1_ps(kTwo63);
  const __m512 minus_infinity = _mm512_set1_ps(-__builtin_inff()), zero = _mm512_setzero_ps();
  const auto one = [&](__m512 v) __attribute__((always_inline)) {
    __m512 r = _mm512_roundscale_ps(_mm512_mul_ps(v, inv), kNearest);
    r = _mm512_mask_mov_ps(r, _mm512_cmp_ps_mask(r, two63, _CMP_GE_OQ), over);
    r = _mm512_mask_mov_ps(r, _mm512_cmp_ps_mask(r, r, _CMP_UNORD_Q), minus_infinity);
    return _mm512_mul_ps(_mm512_add_ps(clamp_keeping_nan(r, lo, hi), zero), t);
  };
  const auto some = [&](size_t at, size_t count) __attribute__((always_inline)) {
    const __mmask16 mask = lanes(count);
    _mm512_mask_storeu_ps(y + at, mask, one(_mm512_maskz_loadu_ps(mask, x + at)));
  };
  size_t i = head(y, n);
  if (i > 0) some(0, i);
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(y + i, one(_mm512_loadu_ps(x + i)));
  if (i < n) some(i, n - i);
}

void pass_inside(const float* x, const float* g, float* out, size_t n, float amax) {
  const __m512 limit = _mm512_set1_ps(amax);
  const auto some = [&](size_t at, __mmask16 mask) __attribute__((always_inline)) {
    const __m512 m = _mm512_abs_ps(_mm512_maskz_loadu_ps(mask, x + at));
    const __mmask16 inside = _mm512_mask_cmp_ps_mask(mask, m, limit, _CMP_LE_OQ);
    return _mm512_maskz_loadu_ps(inside, g + at);
  };
  size_t i = head(out, n);
  if (i > 0) _mm512_mask_storeu_ps(out, lanes(i), some(0, lanes(i)));
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(out + i, some(i, 0xffff));
  if (i < n) _mm512_mask_storeu_ps(out + i, lanes(n - i), some(i, lanes(n - i)));
}

void pass_affine(const float* x, const float* g, float* out, size_t n, float inverse, float lower,
                 float upper) {
  const __m512 inv = _mm512_set1_ps(inverse), lo = _mm512_set1_ps(lower), hi = _mm512_set1_ps(upper);
  const auto some = [&](size_t at, __mmask16 mask) __attribute__((always_inline)) {
    const __m512 r = _mm512_roundscale_ps(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + at), inv), kNearest);
    const __mmask16 above = _mm512_mask_cmp_ps_mask(mask, lo, r, _CMP_LE_OQ);
    return _mm512_maskz_loadu_ps(_mm512_mask_cmp_ps_mask(above, r, hi, _CMP_LE_OQ), g + at);
  };
  size_t i = head(out, n);
  if (i > 0) _mm512_mask_storeu_ps(out, lanes(i), some(0, lanes(i)));
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(out + i, some(i, 0xffff));
  if (i < n) _mm512_mask_storeu_ps(out + i, lanes(n - i), some(i, lanes(n - i)));
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

void put_word(uint8_t* bytes, unsigned bits) {
  const uint16_t word = static_cast<uint16_t>(bits);
  __builtin_memcpy(bytes, &word, sizeof(word));
}

/// `passes(v)`: the bits of sixteen elements.
template <class Passes>
inline __attribute__((always_inline)) void mark(const float* x, size_t n, uint8_t* mask, size_t offset,
                                                const Passes& passes) {
  const auto some = [&](size_t at, size_t count) __attribute__((always_inline)) {
    put_bits(mask, offset + at, count, passes(_mm512_maskz_loadu_ps(lanes(count), x + at)));
  };
  size_t i = bits_before_byte(offset, n);
  if (i > 0) some(0, i);
  for (; i + 16 <= n; i += 16) put_word(mask + (offset + i) / 8, passes(_mm512_loadu_ps(x + i)));
  for (; i < n; i += 8) some(i, n - i < 8 ? n - i : 8);
}

void mark_inside(const float* x, size_t n, float amax, uint8_t* mask, size_t offset) {
  const __m512 limit = _mm512_set1_ps(amax);
  mark(
      x, n, mask, offset, [&](__m512 v) __attribute__((always_inline)) {
        return static_cast<unsigned>(_mm512_cmp_ps_mask(_mm512_abs_ps(v), limit, _CMP_LE_OQ));
      });
}

void mark_affine(const float* x, size_t n, float inverse, float lower, float upper, uint8_t* mask,
                 size_t offset) {
  const __m512 inv = _mm512_set1_ps(inverse), lo = _mm512_set1_ps(lower), hi = _mm512_set1_ps(upper);
  mark(
      x, n, mask, offset, [&](__m512 v) __attribute__((always_inline)) {
        const __m512 r = _mm512_roundscale_ps(_mm512_mul_ps(v, inv), kNearest);
        const __mmask16 above = _mm512_cmp_ps_mask(lo, r, _CMP_LE_OQ);
        return static_cast<unsigned>(_mm512_mask_cmp_ps_mask(above, r, hi, _CMP_LE_OQ));
      });
}

struct Extremes {
  __m512 largest, smallest;
  unsigned zero, negative, nan;
};

void look(__m512 v, __mmask16 mask, Extremes* e) {
  const __m512 none = _mm512_setzero_ps();
  const __m512 m = _mm512_abs_ps(v);
  const __mmask16 nonzero = _mm512_mask_cmp_ps_mask(mask, m, none, _CMP_NEQ_UQ);
  e->zero |= static_cast<unsigned>(mask & ~nonzero);
  e->negative |= _mm512_cmp_ps_mask(v, none, _CMP_LT_OQ);
  e->nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  e->largest = _mm512_max_ps(m, e->largest);
  e->smallest = _mm512_mask_min_ps(e->smallest, nonzero, m, e->smallest);
}

Magnitudes magnitudes(const float* x, size_t n) {
  const __m512 infinity = _mm512_set1_ps(__builtin_inff());
  Extremes even = {_mm512_setzero_ps(), infinity, 0, 0, 0}, odd = even;
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    look(_mm512_loadu_ps(x + i), 0xffff, &even);
    look(_mm512_loadu_ps(x + i + 16), 0xffff, &odd);
  }
  for (; i < n; i += 16) look(_mm512_maskz_loadu_ps(lanes(n - i), x + i), lanes(n - i), &even);
  float high[16], low[16];
  _mm512_storeu_ps(high, _mm512_mask_max_ps(even.largest, 0xffff, even.largest, odd.largest));
  _mm512_storeu_ps(low, _mm512_mask_min_ps(even.smallest, 0xffff, even.smallest, odd.smallest));
  Magnitudes found;
  found.largest = high[0];
  found.smallest_nonzero = low[0];
  for (int j = 1; j < 16; ++j) {
    if (high[j] > found.largest) found.largest = high[j];
    if (low[j] < found.smallest_nonzero) found.smallest_nonzero = low[j];
  }
  found.saw_zero = (even.zero | odd.zero) != 0;
  found.saw_negative = (even.negative | odd.negative) != 0;
  found.saw_nan = (even.nan | odd.nan) != 0;
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
  const __m512 first = _mm512_set1_ps(smallest), last = _mm512_set1_ps(rule->last);
  const __m512 origin = _mm512_set1_ps(rule->origin), inverse = _mm512_set1_ps(rule->inverse_width);
  const __m512 low = _mm512_set1_ps(rule->margin), high = _mm512_set1_ps(1.0f - rule->margin);
  const __m512 end = _mm512_set1_ps(static_cast<float>(rule->bins));
  uint32_t* tables[kCountTables];
  for (size_t t = 0; t < kCountTables; ++t) tables[t] = counts + t * static_cast<size_t>(rule->bins);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m512 m = _mm512_abs_ps(_mm512_loadu_ps(x + i));
    const __m512 f = _mm512_mul_ps(_mm512_sub_ps(m, origin), inverse);
    const __m512 whole = _mm512_roundscale_ps(f, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    const __m512 fraction = _mm512_sub_ps(f, whole);
    // Bin 0 has nothing below it, so there the first threshold decides alone.
    __mmask16 sure = _mm512_cmp_ps_mask(fraction, low, _CMP_GT_OQ) | _mm512_cmp_ps_mask(f, high, _CMP_LT_OQ);
    sure = _mm512_mask_cmp_ps_mask(sure, fraction, high, _CMP_LT_OQ);
    sure = _mm512_mask_cmp_ps_mask(sure, m, first, _CMP_GE_OQ);
    sure = _mm512_mask_cmp_ps_mask(sure, m, last, _CMP_LE_OQ);
    sure = _mm512_mask_cmp_ps_mask(sure, whole, end, _CMP_LT_OQ);
    alignas(64) int32_t bins[16];
    _mm512_store_si512(bins, _mm512_cvttps_epi32(whole));
    if (sure == 0xffff) {
      for (size_t k = 0; k < 16; ++k) ++tables[k % kCountTables][bins[k]];
      continue;
    }
    alignas(64) float magnitudes[16];
    _mm512_store_ps(magnitudes, m);
    for (size_t k = 0; k < 16; ++k) {
      if (sure >> k & 1) {
        ++tables[k % kCountTables][bins[k]];
      } else {
        count_one(magnitudes[k], k % kCountTables, rule, counts);
      }
    }
  }
  for (; i < n; ++i) count_one(__builtin_fabsf(x[i]), i % kCountTables, rule, counts);
}

}  // namespace

const Kernels kKernelsAvx512 = {"avx512",    quantize,    affine,     pass_inside, pass_affine,
                                mark_inside, mark_affine, magnitudes, count};

}  // namespace qdqbert::quant
