#include "qdqbert/engine/passes/passes.h"
#include "qdqbert/engine/passes/sizes.h"

namespace qdqbert::engine {

Graph run_passes(Graph& graph) {
  widen_half(graph);
  remove_identities(graph);
  fold_constants(graph);
  merge_equal_nodes(graph);
  split_gemms(graph);
  fuse_fake_quantize(graph);
  fuse_layer_norm(graph);
  fuse_activations(graph);
  Graph before = graph;
  drop_reshapes(graph);
  fuse_linears(graph);
  resolve_factors(graph);
  resolve_reshapes(graph);
  fuse_attention(graph);
  fuse_embeddings(graph);
  fuse_residual_norm(graph);
  mark_wanted_rows(graph);
  return before;
}

}  // namespace qdqbert::engine
