// Walks over tensors whose dimensions are broadcast, permuted or stepped over.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "qdqbert/engine/reference/call.h"

namespace qdqbert::engine::reference {

/// a * b modulo 2^64. Where a size is 0, other sizes may be anything,
/// and so may the distances that nobody walks.
inline int64_t wrapping_product(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

/// Distances between neighbours of each dimension, in elements, of a row-major tensor.
std::vector<int64_t> strides_of(const Shape& shape);
/// The same for `shape` seen as `out`, to which it broadcasts: 0 where a size of 1 is repeated.
std::vector<int64_t> broadcast_strides(const Shape& shape, const Shape& out);

/// Visits a row-major index space, telling where N operands with strides of their own stand. Neighbouring
/// dimensions that all operands walk evenly are one, so that inner loops are long.
template <size_t N>
class StridedWalk {
 public:
  StridedWalk(const Shape& shape, const std::array<std::vector<int64_t>, N>& strides) {
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) {
      dimensions_.push_back({0, {}});
      return;
    }
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] == 1) continue;
      Dimension dimension{shape[d], {}};
      for (size_t n = 0; n < N; ++n) dimension.strides[n] = strides[n][d];
      if (!dimensions_.empty() && continues(dimensions_.back(), dimension)) {
        dimension.size *= dimensions_.back().size;
        dimensions_.back() = dimension;
      } else {
        dimensions_.push_back(dimension);
      }
    }
    if (dimensions_.empty()) dimensions_.push_back({1, {}});
  }

  /// Of the innermost loop.
  const std::array<int64_t, N>& inner_strides() const { return dimensions_.back().strides; }

  /// body(position, offsets, count) for runs of the innermost dimension within [begin, end): element i of the
  /// run has the flat index position + i, and stands at offsets[n] + i * inner_strides()[n].
  template <class Body>
  void walk(int64_t begin, int64_t end, const Body& body) const {
    if (begin >= end) return;
    const size_t outer = dimensions_.size() - 1;
    const Dimension& inner = dimensions_[outer];
    int64_t column = begin % inner.size, row = begin / inner.size;
    std::vector<int64_t> index(outer);
    std::array<int64_t, N> offsets{};
    for (size_t d = outer; d-- > 0;) {
      index[d] = row % dimensions_[d].size;
      row /= dimensions_[d].size;
      for (size_t n = 0; n < N; ++n) offsets[n] += index[d] * dimensions_[d].strides[n];
    }
    while (begin < end) {
      const int64_t run = std::min(inner.size - column, end - begin);
      std::array<int64_t, N> here = offsets;
      for (size_t n = 0; n < N; ++n) here[n] += column * inner.strides[n];
      body(begin, here, run);
      begin += run;
      column = 0;
      for (size_t d = outer; d-- > 0;) {
        const Dimension& dimension = dimensions_[d];
        for (size_t n = 0; n < N; ++n) offsets[n] += dimension.strides[n];
        if (++index[d] < dimension.size) break;
        for (size_t n = 0; n < N; ++n) offsets[n] -= dimension.size * dimension.strides[n];
        index[d] = 0;
      }
    }
  }

 private:
  struct Dimension {
    int64_t size;
    std::array<int64_t, N> strides;
  };
  static bool continues(const Dimension& outer, const Dimension& inner) {
    for (size_t n = 0; n < N; ++n)
      if (outer.strides[n] != inner.strides[n] * inner.size) return false;
    return true;
  }
  std::vector<Dimension> dimensions_;
};

/// A contiguous tensor of `shape` whose element at index (i0, i1, ...) is the one of `tensor` at
/// first + i0 * strides[0] + i1 * strides[1] + ...
Tensor strided_copy(const Call& call, const Tensor& tensor, const Shape& shape,
                    const std::vector<int64_t>& strides, int64_t first = 0);

/// Dimension i of the result is dimension order[i] of the tensor; a view when nothing moves.
Tensor permuted(const Call& call, const Tensor& tensor, const std::vector<size_t>& order);

}  // namespace qdqbert::engine::reference
