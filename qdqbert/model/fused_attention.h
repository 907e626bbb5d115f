// Attention head by head: scores stay in the cache from the product to the quantized probabilities, and are
// computed again for the gradient instead of being kept.
#pragma once

#include "qdqbert/model/attention.h"

namespace qdqbert::model {

/// What an attention reads: quantized query [B, S, A * d], key and value [B, K, A * d].
struct AttentionOperands {
  at::Tensor q, k, v;
  at::Tensor mask;       ///< additive, broadcast to [B, A, S, K]; undefined: none
  at::Tensor head_mask;  ///< A values; undefined: none
  int64_t heads;
  double dropout = 0;  ///< of the probabilities
};

/// Whether fused_attention() can stand for the general path: float32 on the CPU, operands in the layout
/// above, masks that do not learn, and, where q, k or v do, nobody who wants the probabilities
/// or a quantizer that needs them all.
bool can_fuse(const AttentionOperands& operands, const nn::TensorQuantizer& probability_quantizer,
              const LayerContext& context);

struct FusedAttention {
  at::Tensor context;        ///< [B, S, A * d]
  at::Tensor probabilities;  ///< [B, A, S, K] before quantization, when asked for
};
/// The same bits for any number of threads, with gradients as without.
/// Takes the next dropout mask when dropout > 0.
FusedAttention fused_attention(const AttentionOperands& operands, nn::TensorQuantizer& probability_quantizer,
                               const LayerContext& context);

}  // namespace qdqbert::model
