#pragma once

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine {

/// Computes nodes that read constants only. DequantizeLinear of a constant stays, since that is what a
/// quantized weight looks like; a QuantizeLinear of a weight becomes its codes. Results much larger than
/// their operands are not stored.
void fold_constants(Graph& graph);

}  // namespace qdqbert::engine
