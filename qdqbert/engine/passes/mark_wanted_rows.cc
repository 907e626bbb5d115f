#include <algorithm>

#include "qdqbert/engine/passes/match.h"
#include "qdqbert/engine/passes/passes.h"

namespace qdqbert::engine {

namespace {

/// Outputs that cost more than the layers before them: a score for each word of a vocabulary.
constexpr int64_t kManyColumns = 1024;

int64_t columns_of(const Match& match, const Node& linear) {
  const Tensor* weight = match.constant(linear.inputs[1]);
  if (!weight || weight->shape.size() != 2) return 0;
  return weight->shape[linear.integer("transposed", 0) != 0 ? 0 : 1];
}

}  // namespace

void mark_wanted_rows(Graph& graph) {
  std::vector<size_t> firsts;
  {
    const Match match(graph);
    for (const ValueId output : graph.outputs) {
      const Node* node = match.producer(output, {"qdqbert.Linear"});
      if (!node || !match.readers(output).empty() || columns_of(match, *node) < kManyColumns) continue;
      // Back over what works row by row and is there for this output alone.
      while (match.is_private(node->inputs[0])) {
        const Node* before =
            match.producer(node->inputs[0], {"qdqbert.Linear", "qdqbert.Activation", "LayerNormalization"});
        if (!before) break;
        node = before;
      }
      firsts.push_back(static_cast<size_t>(node - graph.nodes.data()));
    }
  }
  std::sort(firsts.begin(), firsts.end());
  for (size_t i = firsts.size(); i-- > 0;) {
    Node& first = graph.nodes[firsts[i]];
    const std::string name = first.name + "/wanted";
    const ValueId from = first.inputs[0], rows = graph.add_value(name);
    graph.nodes[firsts[i]].inputs[0] = rows;
    graph.nodes.insert(graph.nodes.begin() + static_cast<std::ptrdiff_t>(firsts[i]),
                       Node{name, "qdqbert.WantedRows", 13, {from}, {rows}, {}});
  }
}

}  // namespace qdqbert::engine
