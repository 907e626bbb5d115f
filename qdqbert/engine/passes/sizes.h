// Passes over what exporters compute from sizes, in the graph that run_passes() gives back.
#pragma once

#include <utility>
#include <vector>

#include "qdqbert/engine/graph.h"
#include "qdqbert/engine/passes/probe.h"

namespace qdqbert::engine {

/// Reshapes without effect go, with them those that join texts and positions of rows: what is computed row by
/// row is the same. Three of them around a Transpose become one Transpose.
void drop_reshapes(Graph& graph);

/// Factors of data that follow from sizes alone and are one number in both probes, with that number.
std::vector<std::pair<ValueId, float>> size_factors(const Graph& graph, const Probes& probes);
/// These become constants. AssumptionCheck asks for the same of the graph before.
void resolve_factors(Graph& graph);

/// Whether a value is one float of that content.
bool is_number(const Probe& run, ValueId id, float number);

}  // namespace qdqbert::engine
