// The definition of every loop in plain C++; the other tables are tested against it bit for bit.
#include <cmath>
#include <limits>

#include "qdqbert/quant/kernels.h"

namespace qdqbert::quant {

namespace {

constexpr float kTwo63 = 9223372036854775808.0f;

// Adding 2^23 leaves no fraction bits, so the addition itself rounds to nearest even;
// larger values have none anyway.
float round_to_even(float value) {
  constexpr float kTwo23 = 8388608.0f;
  const float magnitude = std::fabs(value);
  const float rounded = (magnitude + kTwo23) - kTwo23;
  return std::copysign(magnitude < kTwo23 ? rounded : magnitude, value);
}

float clamp_keeping_nan(float value, float lower, float upper) {
  const float above = value < lower ? lower : value;
  return above > upper ? upper : above;
}

unsigned quantize(const float* x, float* y, size_t n, float scale, float divisor, float lower, float upper) {
  unsigned negative = 0, nan = 0;
  for (size_t i = 0; i < n; ++i) {
    const float value = x[i];
    negative |= value < 0;
    nan |= value != value;
    y[i] = clamp_keeping_nan(round_to_even(value * scale), lower, upper) / divisor;
  }
  return (negative ? kSawNegative : 0) | (nan ? kSawNan : 0);
}

void affine(const float* x, float* y, size_t n, float inverse, float step, float lower, float upper,
            float overflow) {
  for (size_t i = 0; i < n; ++i) {
    float r = round_to_even(x[i] * inverse);
    if (r >= kTwo63) r = overflow;
    if (r != r) r = -std::numeric_limits<float>::infinity();
    y[i] = (clamp_keeping_nan(r, lower, upper) + 0.0f) * step;
  }
}

void pass_inside(const float* x, const float* g, float* out, size_t n, float amax) {
  for (size_t i = 0; i < n; ++i) out[i] = std::fabs(x[i]) <= amax ? g[i] : 0.0f;
}

void pass_affine(const float* x, const float* g, float* out, size_t n, float inverse, float lower,
                 float upper) {
  for (size_t i = 0; i < n; ++i) {
    const float r = round_to_even(x[i] * inverse);
    out[i] = lower <= r && r <= upper ? g[i] : 0.0f;
  }
}

void put_bit(uint8_t* mask, size_t position, bool value) {
  const unsigned bit = 1u << position % 8;
  mask[position / 8] = static_cast<uint8_t>(value ? mask[position / 8] | bit : mask[position / 8] & ~bit);
}

void mark_inside(const float* x, size_t n, float amax, uint8_t* mask, size_t offset) {
  for (size_t i = 0; i < n; ++i) put_bit(mask, offset + i, std::fabs(x[i]) <= amax);
}

void mark_affine(const float* x, size_t n, float inverse, float lower, float upper, uint8_t* mask,
                 size_t offset) {
  for (size_t i = 0; i < n; ++i) {
    const float r = round_to_even(x[i] * inverse);
    put_bit(mask, offset + i, lower <= r && r <= upper);
  }
}

Magnitudes magnitudes(const float* x, size_t n) {
  Magnitudes found{0.0f, std::numeric_limits<float>::infinity(), false, false, false};
  for (size_t i = 0; i < n; ++i) {
    const float value = x[i];
    const float magnitude = std::fabs(value);
    found.saw_negative |= value < 0;
    found.saw_nan |= value != value;
    found.saw_zero |= magnitude == 0;
    if (magnitude > found.largest) found.largest = magnitude;
    if (magnitude > 0 && magnitude < found.smallest_nonzero) found.smallest_nonzero = magnitude;
  }
  return found;
}

void count(const float* x, size_t n, const BinRule* rule, uint32_t* counts) {
  const float* thresholds = rule->thresholds;
  for (size_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(x[i]);
    if (magnitude < thresholds[0] || magnitude > rule->last || (rule->skip_zeros && magnitude == 0)) continue;
    int32_t bin = static_cast<int32_t>((magnitude - rule->origin) * rule->inverse_width);
    if (bin > rule->bins - 1) bin = rule->bins - 1;
    while (magnitude < thresholds[bin]) --bin;
    while (bin < rule->bins - 1 && magnitude >= thresholds[bin + 1]) ++bin;
    ++counts[(i % kCountTables) * static_cast<size_t>(rule->bins) + static_cast<size_t>(bin)];
  }
}

}  // namespace

const Kernels kKernelsRef = {"ref",       quantize,    affine,     pass_inside, pass_affine,
                             mark_inside, mark_affine, magnitudes, count};

}  // namespace qdqbert::quant
