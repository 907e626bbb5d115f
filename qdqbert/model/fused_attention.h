// Attention head by head without gradients: scores stay in the cache from the product to the quantized
// probabilities.
#pragma once

#include "qdqbert/model/attention.h"

namespace qdqbert::model {

/// What an attention reads: quantized query [B, S, A * d], key and value [B, K, A * d].
struct AttentionOperands {
  at::Tensor q, k, v;
  at::Tensor mask;       ///< additive, broadcast to [B, A, S, K]; undefined: none
  at::Tensor head_mask;  ///< A values; undefined: none
  int64_t heads;
};

/// Whether fused_attention() can stand for the general path: float32 on the CPU without gradients, contiguous
/// operands in the layout above.
bool can_fuse(const AttentionOperands& operands);

struct FusedAttention {
  at::Tensor context;        ///< [B, S, A * d]
  at::Tensor probabilities;  ///< [B, A, S, K] before quantization, when asked for
};
FusedAttention fused_attention(const AttentionOperands& operands, nn::TensorQuantizer& probability_quantizer,
                               const LayerContext& context);

}  // namespace qdqbert::model
