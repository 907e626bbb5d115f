// Shapes of outputs from shapes of inputs, for the operators that stand
// between a BERT's inputs and its results.
#pragma once

#include <optional>
#include <vector>

#include "qdqbert/engine/graph.h"
#include "qdqbert/engine/passes/probe.h"

namespace qdqbert::engine {

/// One entry per output; nothing where a rule or an input's shape is missing. `inputs` stand as in the node.
std::vector<std::optional<Shape>> output_shapes(const Node& node, const std::vector<const Fact*>& inputs);

}  // namespace qdqbert::engine
