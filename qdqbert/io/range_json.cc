#include "qdqbert/io/range_json.h"

#include <algorithm>

namespace qdqbert::io {

Json range_json(std::span<const float> amax) {
  if (amax.size() == 1) return amax[0];
  const auto [low, high] = std::ranges::minmax(amax);
  return {{"min", low}, {"max", high}, {"count", amax.size()}};
}

}  // namespace qdqbert::io
