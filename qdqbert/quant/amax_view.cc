// Laying a range over a tensor: broadcasting turned into [outer, channels, inner].
#include <algorithm>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/fake_quant.h"

namespace qdqbert::quant {

namespace {

size_t product(const Shape& shape, size_t begin, size_t end) {
  size_t count = 1;
  for (size_t d = begin; d < end; ++d) count *= static_cast<size_t>(shape[d]);
  return count;
}

}  // namespace

AmaxView broadcast_amax(const FloatArray& amax, const Shape& x) {
  const size_t rank = x.size();
  const auto refuse = [&] {
    fail("[fake_quant] amax of shape {} does not broadcast to an input of shape {}", to_string(amax.shape),
         to_string(x));
  };
  Shape sizes = amax.shape;
  while (sizes.size() > rank && sizes.front() == 1) sizes.erase(sizes.begin());
  if (sizes.size() > rank) refuse();
  sizes.insert(sizes.begin(), rank - sizes.size(), 1);
  size_t first = rank, last = 0;
  for (size_t d = 0; d < rank; ++d) {
    if (sizes[d] == 1) continue;
    if (sizes[d] != x[d]) refuse();
    first = std::min(first, d);
    last = d + 1;
  }
  if (first == rank) return {1, 1, product(x, 0, rank), {amax.values.at(0)}};

  AmaxView view{product(x, 0, first), product(x, first, last), product(x, last, rank), {}};
  view.values.resize(view.channels);
  // Dimensions between the first and the last kept one that amax lacks are repeated.
  std::vector<size_t> index(last - first, 0);
  for (float& value : view.values) {
    size_t at = 0;
    for (size_t d = first; d < last; ++d)
      at = at * static_cast<size_t>(sizes[d]) + (sizes[d] == 1 ? 0 : index[d - first]);
    value = amax.values.at(at);
    for (size_t d = last; d-- > first;) {
      if (++index[d - first] < static_cast<size_t>(x[d])) break;
      index[d - first] = 0;
    }
  }
  return view;
}

AmaxView affine_amax(const FloatArray& amax, const Shape& x) {
  const size_t rank = x.size();
  if (amax.values.size() == 1) return {1, 1, product(x, 0, rank), amax.values};
  const int64_t length = static_cast<int64_t>(amax.values.size());
  const auto found = std::find(amax.shape.begin(), amax.shape.end(), length);
  if (found == amax.shape.end())
    fail("[fake_quant] affine arithmetic supports one axis, amax has shape {}", to_string(amax.shape));
  const size_t axis = static_cast<size_t>(found - amax.shape.begin());
  if (axis >= rank || x[axis] != length)
    fail("[fake_quant] amax of shape {} holds {} channels on dimension {}, the input has shape {}",
         to_string(amax.shape), length, axis, to_string(x));
  return {product(x, 0, axis), static_cast<size_t>(length), product(x, axis + 1, rank), amax.values};
}

AmaxView lay_amax(const FloatArray& amax, const Shape& x, Arithmetic arithmetic) {
  return arithmetic == Arithmetic::kToolkit ? broadcast_amax(amax, x) : affine_amax(amax, x);
}

}  // namespace qdqbert::quant
