// From the graph that run_passes() leaves to a plan over packed tokens.
#pragma once

#include <memory>
#include <string>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/engine/graph.h"
#include "qdqbert/engine/plan/plan.h"

namespace qdqbert::engine {

struct Lowered {
  std::unique_ptr<Plan> plan;  ///< null when the graph cannot run packed
  std::string reason;          ///< why not: all nodes that are the cause, with operator and what is missing
};

/// kAuto: integer kernels of `isa` for everything that is quantized, the rest in float with one
/// order of summation; graphs without quantized layers, and the other precisions, run in float
/// with oneDNN, Q/DQ pairs included. Weights are packed here: the graph's constants are no longer
/// needed afterwards but for embedding tables.
Lowered lower(const Graph& graph, Isa isa, Precision precision);

}  // namespace qdqbert::engine
