// A small float32 array that owns its values: ranges, scales, gradients of bounds.
#pragma once

#include <vector>

#include "qdqbert/base/dtype.h"

namespace qdqbert::quant {

/// Row-major; shape {} is a scalar with one value. values.size() == element_count(shape).
struct FloatArray {
  Shape shape;
  std::vector<float> values;

  static FloatArray scalar(float value) { return {{}, {value}}; }
  bool operator==(const FloatArray&) const = default;
};

}  // namespace qdqbert::quant
