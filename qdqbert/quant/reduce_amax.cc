#include "qdqbert/quant/reduce_amax.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "qdqbert/base/error.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/quant/kernels.h"
#include "qdqbert/quant/magnitudes.h"

namespace qdqbert::quant {

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr size_t kElementsPerThread = size_t{1} << 18;

float largest_or_nan(const Magnitudes& found) {
  return found.saw_nan ? kNan : found.largest;
}

Shape without_ones(const Shape& shape) {
  Shape kept;
  std::copy_if(shape.begin(), shape.end(), std::back_inserter(kept), [](int64_t size) { return size != 1; });
  return kept;
}

void check_not_empty(std::span<const float> x, const Shape& shape) {
  const int64_t count = element_count(shape);
  if (count != static_cast<int64_t>(x.size()))
    fail("[reduce_amax] shape {} has {} elements, got {}", to_string(shape), count, x.size());
  if (count == 0) fail("[reduce_amax] a tensor of shape {} has no maximum", to_string(shape));
}

/// max |x| with the dimensions marked in `reduced` shrunk to 1.
FloatArray reduce(std::span<const float> x, const Shape& shape, const std::vector<bool>& reduced) {
  FloatArray result{shape, {}};
  for (size_t d = 0; d < shape.size(); ++d)
    if (reduced[d]) result.shape[d] = 1;
  const size_t outputs = static_cast<size_t>(element_count(result.shape));
  if (outputs == 1) {
    result.values = {abs_max(x)};
    return result;
  }
  result.values.assign(outputs, 0.0f);

  // A run is the longest suffix of dimensions that are all reduced or all kept.
  const size_t rank = shape.size();
  size_t first = rank - 1;
  while (first > 0 && reduced[first - 1] == reduced[rank - 1]) --first;
  size_t run = 1;
  for (size_t d = first; d < rank; ++d) run *= static_cast<size_t>(shape[d]);
  std::vector<size_t> strides(first, 0);
  size_t stride = reduced[rank - 1] ? 1 : run;
  for (size_t d = first; d-- > 0;) {
    if (reduced[d]) continue;
    strides[d] = stride;
    stride *= static_cast<size_t>(shape[d]);
  }

  const Kernels& table = kernels();
  std::vector<size_t> index(first, 0);
  size_t out = 0;
  for (size_t at = 0; at < x.size(); at += run) {
    if (reduced[rank - 1]) {
      const float largest = largest_or_nan(table.magnitudes(x.data() + at, run));
      if (!(result.values[out] >= largest))
        result.values[out] = std::isnan(result.values[out]) ? kNan : largest;
    } else {
      float* values = result.values.data() + out;
      for (size_t i = 0; i < run; ++i) {
        const float magnitude = std::fabs(x[at + i]);
        values[i] = magnitude > values[i] || magnitude != magnitude ? magnitude : values[i];
      }
    }
    for (size_t d = first; d-- > 0;) {
      out += strides[d];
      if (++index[d] < static_cast<size_t>(shape[d])) break;
      out -= strides[d] * index[d];
      index[d] = 0;
    }
  }
  return result;
}

}  // namespace

Magnitudes magnitudes(std::span<const float> x, int threads) {
  const Kernels& table = kernels();
  const size_t workers = std::min<size_t>(static_cast<size_t>(threads > 0 ? threads : default_threads()),
                                          std::max<size_t>(1, x.size() / kElementsPerThread));
  if (workers <= 1) return table.magnitudes(x.data(), x.size());
  Magnitudes all{0.0f, std::numeric_limits<float>::infinity(), false, false, false};
  std::mutex mutex;
  const size_t grain = (x.size() + workers - 1) / workers;
  parallel_for(x.size(), grain, static_cast<int>(workers), [&](size_t begin, size_t end) {
    const Magnitudes part = table.magnitudes(x.data() + begin, end - begin);
    const std::lock_guard lock(mutex);
    all.largest = std::max(all.largest, part.largest);
    all.smallest_nonzero = std::min(all.smallest_nonzero, part.smallest_nonzero);
    all.saw_zero |= part.saw_zero;
    all.saw_negative |= part.saw_negative;
    all.saw_nan |= part.saw_nan;
  });
  return all;
}

float abs_max(std::span<const float> x, int threads) {
  return largest_or_nan(magnitudes(x, threads));
}

bool all_finite(std::span<const float> x, int threads) {
  const Magnitudes found = magnitudes(x, threads);
  return !found.saw_nan && std::isfinite(found.largest);
}

FloatArray reduce_amax(std::span<const float> x, const Shape& shape, const std::optional<ReduceAxes>& axes,
                       bool keepdims) {
  check_not_empty(x, shape);
  const int rank = static_cast<int>(shape.size());
  if (!axes) return FloatArray::scalar(abs_max(x));
  if (!axes->is_number && axes->is_tuple && static_cast<int>(axes->dims.size()) > rank)
    fail("[reduce_amax] cannot reduce {} axes of a tensor with {} dimensions", axes->dims.size(), rank);
  std::vector<bool> reduced(shape.size(), false);
  for (const int axis : axes->dims) {
    if (axis < -rank || axis >= rank)
      fail("[reduce_amax] axis {} is out of range for a tensor with {} dimensions", axis, rank);
    reduced[static_cast<size_t>(axis < 0 ? axis + rank : axis)] = true;
  }
  FloatArray result = reduce(x, shape, reduced);
  if (axes->is_number) {
    if (!keepdims)
      result.shape.erase(result.shape.begin() +
                         (std::find(reduced.begin(), reduced.end(), true) - reduced.begin()));
  } else if (!keepdims || result.values.size() == 1) {
    result.shape = without_ones(result.shape);
  }
  return result;
}

FloatArray amax_of_kept_axes(std::span<const float> x, const Shape& shape, const std::vector<int>& kept) {
  check_not_empty(x, shape);
  std::vector<bool> reduced(shape.size(), true);
  for (const int axis : kept)
    if (axis >= 0 && axis < static_cast<int>(shape.size())) reduced[static_cast<size_t>(axis)] = false;
  FloatArray result = reduce(x, shape, reduced);
  if (result.values.size() == 1) result.shape.clear();
  return result;
}

}  // namespace qdqbert::quant
