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
  std::vector<int64_t> mask;         ///< [B][S]
  int64_t sources = 0;               ///< T of a cross-attention
  std::vector<int64_t> source_mask;  ///< [B][T]
  std::vector<Fact> facts;           ///< per value of the graph
};

struct Probes {
  std::vector<Probe> runs;  ///< two
};

/// Asks with B = 2, S = 5 and B = 4, S = 7 and masks with different lengths. A node whose shape rule or
/// inputs are unknown leaves its outputs without facts; inputs of ranks other than 2 have none.
Probes probe(const Graph& graph);

/// What a bias removes from attention scores.
enum class MaskKind {
  kNone,     ///< something else
  kPadding,  ///< keys that the mask has 0 for
  kCausal,   ///< these, and keys behind the query
  kSources,  ///< keys of a cross-attention that its mask has 0 for
};

/// By its contents in both runs: [B][1][1 or S][keys] of 0 for what stays
/// and at most -1000 for what is removed.
MaskKind mask_kind(const Probes& probes, ValueId id);
/// In both runs [S][S] of query position - key position + `positions` - 1.
bool is_distances(const Probes& probes, ValueId id, int64_t positions);
/// In both runs 0, 1, ..., S - 1 along the last axis, the others of size 1 or B.
bool is_positions(const Probes& probes, ValueId id);

}  // namespace qdqbert::engine
