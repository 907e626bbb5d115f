// What an importer leaves constant in a roundabout way becomes constant.
#pragma once

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine {

/// Replaces nodes whose inputs are all constants by their results, exactly as the reference operators compute
/// them, and drops what nobody reads any more. A weight that is quantized in the file becomes its codes; the
/// DequantizeLinear behind it stays, because that is how quantized weights look. Left alone: transposed
/// weights, operators that the reference does not know, and results larger than four times the inputs and 1
/// KiB (a few sizes must not fill the memory). Throws InputError when a node's inputs do not fit it.
void fold_constants(Graph& graph);

}  // namespace qdqbert::engine
