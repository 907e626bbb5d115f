// Fake quantization of one element by the toolkit's arithmetic (quant/fake_quant.h, kToolkit), the same bits
// on a GPU as on the CPU: one definition for both compilers, held to quant/ by a test that needs no GPU.
#pragma once

#include <math.h>
#include <stddef.h>

#ifdef __CUDACC__
#define QDQBERT_HOST_DEVICE __host__ __device__
#else
#define QDQBERT_HOST_DEVICE
#endif

namespace qdqbert::nn {

/// What a channel's elements are multiplied by, then divided by.
struct ElementScale {
  float multiply, divide;
};

/// `smallest`: the least range of all channels, NaN when one of them is. As in the toolkit a NaN there
/// switches the treatment of tiny ranges off. A negative `smallest`, which the CPU refuses, makes every
/// result NaN: a check would have to wait for the device.
QDQBERT_HOST_DEVICE inline ElementScale element_scale(float amax, float smallest, float bound) {
  constexpr float kTiny = 1.0f / (1 << 24);
  if (smallest < 0) return {NAN, NAN};
  if (smallest <= kTiny && amax <= kTiny) return {0.0f, 1.0f};
  return {bound / amax, bound / amax};
}

struct ElementBounds {
  float lower, upper;  ///< quant::min_bound, quant::max_bound
  bool is_unsigned;
};

/// clamp(rne(x * multiply), lower, upper) / divide; NaN stays. A negative x when unsigned,
/// which the CPU refuses, becomes NaN.
QDQBERT_HOST_DEVICE inline float fake_quant_element(float x, ElementScale scale, ElementBounds bounds) {
  if (bounds.is_unsigned && x < 0) return NAN;
  float q = rintf(x * scale.multiply);
  q = q < bounds.lower ? bounds.lower : q;
  q = q > bounds.upper ? bounds.upper : q;
  return q / scale.divide;
}

/// Whether the gradient passes.
QDQBERT_HOST_DEVICE inline bool passes_element(float x, float amax) {
  return fabsf(x) <= amax;
}

}  // namespace qdqbert::nn
