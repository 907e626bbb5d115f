// What a graph does with sizes and masks, found by asking it: shapes of all values, and contents of those that
// follow from sizes and masks alone. So masks, positions and reshapes are recognised by what they say and not
// by how an exporter happened to write them. Passes ask with two batches of different B and S; what they take
// from the answers they note as an Assumption, because it need not hold for others.
#pragma once

#include <optional>
#include <vector>

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine {

struct Fact {
  std::optional<Shape> shape;
  std::optional<Tensor> contents;  ///< for small values that follow from sizes and the mask
};

/// A question and, in `facts`, its answer.
struct Probe {
  int64_t batch = 0, length = 0;
  int64_t choices = 2;               ///< second axis of multiple-choice inputs; divides `batch`
  std::vector<int64_t> mask;         ///< [B][S]
  int64_t sources = 0;               ///< T of a cross-attention
  std::vector<int64_t> source_mask;  ///< [B][T]
  std::vector<Fact> facts;           ///< per value of the graph
};

struct Probes {
  std::vector<Probe> runs;  ///< two
};

/// How far contents are followed.
struct Following {
  int64_t elements = 4096;  ///< of a value, beyond which only its shape is kept
  int64_t bytes =
      int64_t{1} << 20;  ///< that computing a value may take; a hostile file could ask for any amount
  /// Per value: whether its contents are wanted whatever their size; null: none.
  const std::vector<bool>* wanted = nullptr;
};

/// Asks with B = 2, S = 5, 2 choices and B = 6, S = 7, 3 choices, and masks with different lengths. A node whose shape rule or
/// inputs are unknown leaves its outputs without facts; inputs of ranks other than 2 and 3 have none.
Probes probe(const Graph& graph);
/// Asks with the sizes and masks of `question`.
Probe probe(const Graph& graph, Probe question, const Following& following);

/// Whether a bias [B][1][1 or S][keys] is 0 for what stays and at most -1000 for what is removed, by the
/// kinds kPadding, kCausal and kSources. `all_queries`: also for queries that the mask has 0 for, of which
/// nobody sees the result; without, only that something is left for them.
bool removes(const Probe& run, ValueId id, Assumption::Kind kind, bool all_queries);
/// [S][S] of query position - key position + `positions` - 1.
bool is_distances(const Probe& run, ValueId id, int64_t positions);
/// 0, 1, ..., S - 1 along the last axis, the others of size 1 or B.
bool is_positions(const Probe& run, ValueId id);
bool is_zeros(const Probe& run, ValueId id);

/// The kind that a bias has in both runs.
std::optional<Assumption::Kind> mask_kind(const Probes& probes, ValueId id);

template <class Predicate>
bool in_both(const Probes& probes, const Predicate& holds) {
  for (const Probe& run : probes.runs)
    if (!holds(run)) return false;
  return true;
}

}  // namespace qdqbert::engine
