// Every operator that the engine knows, computed the plain way: the meaning of a node. Constant folding and
// graphs (or parts of them) that match no fused pattern run here.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine::reference {

/// Whether evaluate() knows the operator at this node's opset with these attributes; else a sentence that
/// says what is missing.
std::string unsupported(const Node& node);

/// Outputs of one node. `inputs` stand as in the node; a left-out one is null. Sums go over K ascending, one
/// after the other, in float; quantization divides and rounds to even as QuantizeLinear is specified.
/// Throws InputError naming the node when shapes or types do not fit.
std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor* const> inputs);

/// Runs all nodes of a graph over named inputs, freeing each value after its last reader.
/// Returns the graph's outputs in their order.
std::vector<Tensor> run(const Graph& graph, std::span<const Tensor> inputs);

}  // namespace qdqbert::engine::reference
