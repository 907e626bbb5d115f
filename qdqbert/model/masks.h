// Attention and head masks in the form that the layers add or multiply.
#pragma once

#include <ATen/ATen.h>

namespace qdqbert::model {

/// (1 - mask) times the most negative finite value of `dtype`. `mask` [B, K] becomes [B, 1, 1, K],
/// in a decoder [B, 1, S, K] with later positions masked (K - S earlier ones visible to all);
/// [B, S, K] becomes [B, 1, S, K], for decoders too. Throws InputError for another rank. `batch`,
/// `length`: shape [B, S] of the new tokens.
at::Tensor extended_attention_mask(const at::Tensor& mask, int64_t batch, int64_t length, bool is_decoder,
                                   at::ScalarType dtype);

/// The same for the encoder states of a cross-attention: [B, T] or [B, S, T], without causality.
at::Tensor inverted_attention_mask(const at::Tensor& mask, at::ScalarType dtype);

/// [A] or [L, A] to [L, 1, A, 1, 1] of `dtype`. Throws InputError for another rank.
at::Tensor head_mask_by_layer(const at::Tensor& mask, int64_t layers, at::ScalarType dtype);

}  // namespace qdqbert::model
