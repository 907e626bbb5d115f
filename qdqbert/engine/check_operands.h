// How many inputs an operator takes, and which of its inputs and outputs may be left out.
#pragma once

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine {

/// Passes and planner look at inputs and outputs by their place; this is where places are made sure of.
/// Throws InputError naming file, node and operator when a node of a known operator has too few or too many
/// inputs, or leaves out one that it needs or its first output, as the ONNX operator sets 11 to 23 and
/// com.microsoft say. Other operators are not looked at.
void check_operands(const Graph& graph);

}  // namespace qdqbert::engine
