#include <bit>
#include <cmath>
#include <cstring>

#include "qdqbert/engine/kernels/rows.h"

namespace qdqbert::engine {

namespace {

struct F {
  float lane[16];
};
struct I {
  int32_t lane[16];
};

template <class Operation>
F each(Operation&& operation) {
  F out;
  for (int j = 0; j < 16; ++j) out.lane[j] = operation(j);
  return out;
}

F f_set(float s) {
  return each([&](int) { return s; });
}
F f_load(const float* p) {
  return each([&](int j) { return p[j]; });
}
void f_store(float* p, const F& v) {
  std::memcpy(p, v.lane, sizeof(v.lane));
}
F f_add(const F& a, const F& b) {
  return each([&](int j) { return a.lane[j] + b.lane[j]; });
}
F f_sub(const F& a, const F& b) {
  return each([&](int j) { return a.lane[j] - b.lane[j]; });
}
F f_mul(const F& a, const F& b) {
  return each([&](int j) { return a.lane[j] * b.lane[j]; });
}
F f_div(const F& a, const F& b) {
  return each([&](int j) { return a.lane[j] / b.lane[j]; });
}
F f_fma(const F& a, const F& b, const F& c) {
  return each([&](int j) { return std::fma(a.lane[j], b.lane[j], c.lane[j]); });
}
F f_fnma(const F& a, const F& b, const F& c) {
  return each([&](int j) { return std::fma(-a.lane[j], b.lane[j], c.lane[j]); });
}
F f_relu(const F& x) {
  return each([&](int j) { return x.lane[j] < 0.0f ? 0.0f : x.lane[j]; });
}
F f_min(const F& a, const F& b) {
  return each([&](int j) { return a.lane[j] < b.lane[j] ? a.lane[j] : b.lane[j]; });
}
F f_max(const F& a, const F& b) {
  return each([&](int j) { return a.lane[j] > b.lane[j] ? a.lane[j] : b.lane[j]; });
}
F f_abs(const F& a) {
  return each([&](int j) { return std::fabs(a.lane[j]); });
}
float f_sqrt1(float x) {
  return std::sqrt(x);
}
F f_select_negative(const F& x, const F& a, const F& b) {
  return each([&](int j) { return std::signbit(x.lane[j]) ? a.lane[j] : b.lane[j]; });
}
I i_load(const int32_t* p) {
  I out;
  std::memcpy(out.lane, p, sizeof(out.lane));
  return out;
}
F f_from_i(const I& v) {
  return each([&](int j) { return static_cast<float>(v.lane[j]); });
}
/// The session sets round-to-nearest, which nearbyint follows; what does not fit becomes INT32_MIN as on x86.
I i_from_f(const F& v) {
  I out;
  for (int j = 0; j < 16; ++j) {
    const float rounded = std::nearbyint(v.lane[j]);
    out.lane[j] = rounded >= -0x1p31f && rounded < 0x1p31f ? static_cast<int32_t>(rounded) : INT32_MIN;
  }
  return out;
}
F f_at_least(const F& x, float s, const F& v) {
  return each([&](int j) { return x.lane[j] >= s ? v.lane[j] : 0.0f; });
}
F f_add_exponent(const F& v, const F& t) {
  return each([&](int j) {
    return std::bit_cast<float>(std::bit_cast<uint32_t>(v.lane[j]) +
                                (std::bit_cast<uint32_t>(t.lane[j]) << 23));
  });
}
F f_scale(const F& v, const F&, const F& t) {
  return f_add_exponent(v, t);
}
I i_set(int32_t s) {
  I out;
  for (int32_t& lane : out.lane) lane = s;
  return out;
}
/// Modulo 2^32, as vectors do: lanes past the end of a row hold anything.
I i_sub(const I& a, const I& b) {
  I out;
  for (int j = 0; j < 16; ++j)
    out.lane[j] = static_cast<int32_t>(static_cast<uint32_t>(a.lane[j]) - static_cast<uint32_t>(b.lane[j]));
  return out;
}
I i_max(const I& a, const I& b) {
  I out;
  for (int j = 0; j < 16; ++j) out.lane[j] = a.lane[j] > b.lane[j] ? a.lane[j] : b.lane[j];
  return out;
}
F f_load_bytes(const uint8_t* p, uint8_t flip) {
  return each([&](int j) { return static_cast<float>(static_cast<int8_t>(p[j] ^ flip)); });
}
void store_codes(uint8_t* p, const I& v, uint8_t flip) {
  for (int j = 0; j < 16; ++j) {
    const int32_t code = v.lane[j] < -128 ? -128 : v.lane[j] > 127 ? 127 : v.lane[j];
    p[j] = static_cast<uint8_t>(static_cast<uint8_t>(code) ^ flip);
  }
}
[[maybe_unused]] void store_codes_2x2(uint8_t* p, size_t ld, const I* q, uint8_t flip) {
  for (size_t i = 0; i < 4; ++i) store_codes(p + i / 2 * ld + i % 2 * 16, q[i], flip);
}
F f_load_partial(const float* p, size_t count) {
  return each([&](int j) { return static_cast<size_t>(j) < count ? p[j] : 0.0f; });
}
void f_store_partial(float* p, const F& v, size_t count) {
  std::memcpy(p, v.lane, count * sizeof(float));
}
F f_keep(const F& v, size_t count) {
  return each([&](int j) { return static_cast<size_t>(j) < count ? v.lane[j] : 0.0f; });
}
I i_keep_or(const I& v, size_t count, int32_t s) {
  I out;
  for (int j = 0; j < 16; ++j) out.lane[j] = static_cast<size_t>(j) < count ? v.lane[j] : s;
  return out;
}
float f_reduce_add(F v) {
  for (int width = 8; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) v.lane[j] = v.lane[j] + v.lane[j + width];
  return v.lane[0];
}
int32_t i_reduce_max(const I& v) {
  int32_t top = v.lane[0];
  for (int32_t lane : v.lane) top = lane > top ? lane : top;
  return top;
}

constexpr size_t kLinearRows = 1, kLinearPanels = 1, kTogether = 1, kChains = 1, kVectors = 1;
#define INLINE inline
#define UNROLL
#include "qdqbert/engine/kernels/rows_generic.inc"

const RowKernels kernels = {"ref",      requantize, residual_layernorm, softmax,  quantize,
                            dequantize, add,        linear_f32,         activate, exp_array};

}  // namespace

const RowKernels& rows_ref() {
  return kernels;
}

}  // namespace qdqbert::engine
