// Every operator that the engine knows, computed the plain way: the meaning of a node. Constant folding and
// graphs (or parts of them) that match no fused pattern run here.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/graph.h"
#include "qdqbert/engine/worker_pool.h"

namespace qdqbert::engine::reference {

/// Where nodes are computed, and how much they may ask for. Results do not depend on the pool.
struct Environment {
  WorkerPool* pool = nullptr;                 ///< null: the calling thread alone
  int64_t largest_tensor = int64_t{1} << 33;  ///< bytes of one result or intermediate
};

/// A tensor would hold more than Environment::largest_tensor bytes.
class TooLarge : public InputError {
 public:
  using InputError::InputError;
};

/// Whether evaluate() knows the operator at this node's opset with these attributes;
/// else a sentence that says what is missing.
std::string unsupported(const Node& node);

/// Outputs of one node. `inputs` stand as in the node; a left-out one is null. Products are summed over K
/// ascending, one after the other, in float; means and sums of reductions in double, rounded once;
/// quantization divides and rounds to even as QuantizeLinear is specified. F16 and BF16 are widened to F32,
/// and results rounded back. Outputs may share memory with inputs (Reshape, Slice, ...).
/// Throws InputError naming the node when shapes or types do not fit; TooLarge.
std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor* const> inputs,
                             const Environment& environment = {});

/// Runs all nodes of a graph; `inputs` stand as graph.inputs. Each value is freed after its last reader.
/// Returns the graph's outputs in their order. Throws like evaluate(), and InputError for inputs whose type
/// or shape is not the graph's.
std::vector<Tensor> run(const Graph& graph, std::span<const Tensor> inputs,
                        const Environment& environment = {});

}  // namespace qdqbert::engine::reference
