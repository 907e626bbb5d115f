// What a graph does with sizes and masks, found by asking it twice: shapes of all values, and contents of
// those that follow from sizes and the mask alone, for two batches of different B and S. So masks, positions
// and reshapes are recognised by what they say and not by how an exporter happened to write them.
#pragma once

#include <optional>
#include <vector>

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine {

struct Fact {
  std::optional<Shape> shape;
  std::optional<Tensor> contents;  ///< for small values that follow from sizes and the mask
};

struct Probe {
  int64_t batch = 0, length = 0;
  std::vector<int64_t> mask;  ///< [B][S]
  std::vector<Fact> facts;    ///< per value of the graph
};

struct Probes {
  std::vector<Probe> runs;  ///< two
};

/// Asks with B = 2, S = 5 and B = 3, S = 7 and masks with different lengths. A node whose shape rule or
/// inputs are unknown leaves its outputs without facts; inputs of ranks other than 2 have none.
Probes probe(const Graph& graph);

/// In both runs [1 or B][1][1 or S][S] (or fewer leading axes) of 0 where the mask is 1 and at most -1000
/// where it is 0, for whatever query.
bool is_mask_bias(const Probes& probes, ValueId id);
/// In both runs 0, 1, ..., S - 1 along the last axis, the others of size 1 or B.
bool is_positions(const Probes& probes, ValueId id);

}  // namespace qdqbert::engine
