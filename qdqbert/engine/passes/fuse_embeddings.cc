#include <algorithm>

#include "qdqbert/engine/passes/match.h"
#include "qdqbert/engine/passes/passes.h"
#include "qdqbert/engine/passes/probe.h"

namespace qdqbert::engine {

namespace {

struct Tables {
  ValueId words = kNoValue, types = kNoValue, positions = kNoValue;
  ValueId ids = kNoValue, type_ids = kNoValue;
  std::vector<Assumption> assumptions;
};

bool is_table(const Match& match, ValueId id) {
  const Tensor* table = match.constant(id);
  return table && table->dtype == DType::kF32 && table->shape.size() == 2;
}

/// The graph input that `id` is, but for conversions and merged leading axes.
ValueId input_behind(const Match& match, ValueId id) {
  while (const Node* node = match.producer(id, {"Cast", "Reshape"})) id = node->inputs[0];
  return id;
}

class Search {
 public:
  Search(const Graph& graph, const Match& match, const Probes& probes)
      : graph_(graph), match_(match), probes_(probes) {}

  /// Whether the sum that ends in `id` is made of looked-up rows and nothing else.
  bool collect(ValueId id, Tables& tables) const {
    if (const Node* add = match_.producer(id, {"Add"}))
      return collect(add->inputs[0], tables) && collect(add->inputs[1], tables);
    if (const Node* slice = match_.producer(id, {"Slice"})) return take_leading_rows(*slice, tables);
    const Node* gather = match_.producer(id, {"Gather"});
    if (!gather || gather->integer("axis", 0) != 0 || !is_table(match_, gather->inputs[0])) return false;
    const ValueId table = gather->inputs[0], index = gather->inputs[1];
    if (in_both(probes_, [&](const Probe& run) { return is_positions(run, index); })) {
      assume(tables, index, Assumption::Kind::kPositions, rows_of(table));
      return take(tables.positions, table);
    }
    if (in_both(probes_, [&](const Probe& run) { return is_zeros(run, index); })) {
      assume(tables, index, Assumption::Kind::kZeros, 0);
      return take(tables.types, table);
    }
    const ValueId input = input_behind(match_, index);
    const std::string& name = graph_.values[input].name;
    if (std::find(graph_.inputs.begin(), graph_.inputs.end(), input) != graph_.inputs.end()) {
      if (name == "input_ids") return take(tables.words, table) && take(tables.ids, input);
      if (name == "token_type_ids") return take(tables.types, table) && take(tables.type_ids, input);
    }
    return false;
  }

 private:
  static bool take(ValueId& slot, ValueId id) {
    if (slot != kNoValue) return false;
    slot = id;
    return true;
  }

  int64_t rows_of(ValueId table) const { return match_.constant(table)->shape[0]; }

  void assume(Tables& tables, ValueId id, Assumption::Kind kind, int64_t rows) const {
    tables.assumptions.push_back({graph_.values[id].name, kind, rows});
  }

  /// Rows 0 to S of the position table.
  bool take_leading_rows(const Node& slice, Tables& tables) const {
    if (!is_table(match_, slice.inputs[0]) || slice.inputs.size() < 3) return false;
    const Shape& table = match_.constant(slice.inputs[0])->shape;
    const bool leading = in_both(probes_, [&](const Probe& run) {
      return is_zeros(run, slice.inputs[1]) &&
             run.facts[slice.outputs[0]].shape == Shape{run.length, table[1]};
    });
    if (!leading) return false;
    assume(tables, slice.inputs[1], Assumption::Kind::kZeros, 0);
    assume(tables, slice.outputs[0], Assumption::Kind::kLeadingRows, table[0]);
    return take(tables.positions, slice.inputs[0]);
  }

  const Graph& graph_;
  const Match& match_;
  const Probes& probes_;
};

}  // namespace

void fuse_embeddings(Graph& graph) {
  const Probes probes = probe(graph);
  const Match match(graph);
  const Search search(graph, match, probes);
  // From the end, so that the whole sum is met before its parts.
  for (size_t n = graph.nodes.size(); n-- > 0;) {
    Node& node = graph.nodes[n];
    Tables tables;
    if (node.op != "Add" || !search.collect(node.outputs[0], tables)) continue;
    if (tables.words == kNoValue) continue;
    become(node, "qdqbert.Embeddings",
           {tables.ids, tables.type_ids, tables.words, tables.types, tables.positions}, {});
    graph.assumptions.insert(graph.assumptions.end(), tables.assumptions.begin(), tables.assumptions.end());
    break;
  }
  remove_unused(graph);
}

}  // namespace qdqbert::engine
