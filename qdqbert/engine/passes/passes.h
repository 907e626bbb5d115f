// Rewrites from what exporters write to what the planner understands, in the order of run_passes().
// Each keeps the graph's meaning up to float rounding; each lives in a file of its own and
// is tested by the graph before and after.
//
// Operators that passes introduce (B, S, H, D as everywhere; axes count from the right):
//   qdqbert.FakeQuantize(x) {scale}
//       DQ(Q(x)), 8 bits signed, zero point 0, one scale
//   qdqbert.Activation(x) {kind, clip}
//       gelu | gelu_tanh | relu | silu | tanh | sigmoid | quick_gelu | mish | laplace | leaky_relu | relu2,
//       then min(y, clip)
//   qdqbert.Linear(x, w[k, n] or [n, k], bias?) {transposed}
//       float weight
//   qdqbert.QuantizedLinear(x, codes, scales, bias?) {scale, transposed}
//       x fake-quantized with `scale`, times INT8 weight codes
//   qdqbert.Attention(q, k, v, distances[2P - 1, D]?)
//           {heads, factor, causal, sources, by_key, q_scale, k_scale, p_scale, v_scale}
//       q, k, v: [B, S, H] each; scale 0: not quantized; masked by length
//       causal:    keys behind the query are masked, too
//       sources:   k and v are of a cross-attention
//       distances: the scores are (q . k + q . e[q - k + P - 1]) factor; by_key: also + k . e
//   qdqbert.Embeddings(input_ids, token_type_ids, words, types, positions?)
//   qdqbert.ResidualNorm(x, residual, gamma, beta) {epsilon, x_scale, residual_scale}
//       LayerNorm(fq(x) + fq(residual)); scale 0: not quantized
//   qdqbert.WantedRows(x)
//       x of the tokens that the caller asked for, all by default
#pragma once

#include "qdqbert/engine/graph.h"
#include "qdqbert/engine/passes/fold_constants.h"

namespace qdqbert::engine {

/// Half precision constants and conversions become single precision: the plan computes in that, which is
/// closer to what the model meant than what the file asks for.
void widen_half(Graph& graph);
/// Identity, Dropout, and Cast of a float to float: readers take their input instead.
void remove_identities(Graph& graph);
/// Equal operators over equal inputs are computed once.
void merge_equal_nodes(Graph& graph);
/// Gemm with factors of 1 becomes MatMul and Add.
void split_gemms(Graph& graph);
void fuse_fake_quantize(Graph& graph);
/// Decomposed LayerNorm over the last axis becomes LayerNormalization.
void fuse_layer_norm(Graph& graph);
void fuse_activations(Graph& graph);
void fuse_linears(Graph& graph);
/// Targets of Reshape that are computed from sizes become constants, so that nothing but data reads data.
void resolve_reshapes(Graph& graph);
/// Takes a decoder's cache out of its graph, whose keeping is the session's: outputs present.* go, and what
/// was joined with an input past_key_values.* is the new part alone. Inputs that something else reads stay.
void forget_cache(Graph& graph);
/// Attention over split heads, masked by a bias that mask_kind() recognises.
void fuse_attention(Graph& graph);
/// Sums of looked-up rows: words, token types and (where there are any) positions 0, 1, ..., S - 1.
void fuse_embeddings(Graph& graph);
void fuse_residual_norm(Graph& graph);
/// In front of what makes a score for each word of a vocabulary: which tokens
/// that is asked for, callers may say.
void mark_wanted_rows(Graph& graph);

/// All of the above. Gives back the graph as it was before anything was taken from probes: what
/// graph.assumptions speak of.
Graph run_passes(Graph& graph);

}  // namespace qdqbert::engine
