// How much of the mask an element of a value may depend on, by the operators alone.
#pragma once

#include <cstdint>
#include <vector>

#include "qdqbert/engine/graph.h"
#include "qdqbert/engine/passes/probe.h"

namespace qdqbert::engine {

struct MaskDependence {
  enum class Kind : uint8_t {
    kNone,  ///< not on its elements
    kKey,   ///< on the one at the element's indices of the axes `text` and `key`, counted from the right
    kAny,   ///< on any of them; of a value without contents: its shape depends on them
  };
  Kind kind = Kind::kNone;
  int64_t text = 0, key = 0;
  ValueId mask = kNoValue;  ///< the graph input
  bool operator==(const MaskDependence&) const = default;
};

/// Per value of the graph. `run` tells ranks, constant axes, and which values have contents; it holds for all
/// sizes for which ranks are the same.
std::vector<MaskDependence> mask_dependence(const Graph& graph, const Probe& run);

}  // namespace qdqbert::engine
