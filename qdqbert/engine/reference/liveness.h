// How long values live while a graph runs node by node.
#pragma once

#include <vector>

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine::reference {

/// For each node the values that nobody needs once it has run: their last reader, or their producer where
/// nobody reads them. Constants and the graph's outputs never stand here.
std::vector<std::vector<ValueId>> freed_after(const Graph& graph);

}  // namespace qdqbert::engine::reference
