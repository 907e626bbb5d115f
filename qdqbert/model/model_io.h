// What goes into a forward pass and what comes out of it, for every model class.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "qdqbert/nn/tensor_quantizer.h"

namespace qdqbert::model {

/// Keys and values of one layer, each [B, A, S, d]: key and value, followed by
/// those of the cross-attention if it ran.
using LayerCache = std::vector<at::Tensor>;
using PastKeyValues = std::vector<LayerCache>;

/// Undefined tensors are absent arguments. B batch, S sequence, H hidden size,
/// A heads, L layers, C choices, N labels.
struct ModelInputs {
  at::Tensor input_ids;               ///< int64 [B, S]; multiple choice [B, C, S]
  at::Tensor attention_mask;          ///< [B, S (+ past)] or [B, S, S]; 1 attends, 0 does not; any type
  at::Tensor token_type_ids;          ///< int64 [B, S]; default zeros
  at::Tensor position_ids;            ///< int64 [B, S] or [1, S]; default past, past + 1, ...
  at::Tensor head_mask;               ///< [A] or [L, A]; 1 keeps
  at::Tensor inputs_embeds;           ///< float [B, S, H], instead of input_ids
  at::Tensor encoder_hidden_states;   ///< float [B, T, H], decoders with cross-attention
  at::Tensor encoder_attention_mask;  ///< [B, T] or [B, S, T]
  PastKeyValues past_key_values;      ///< of an earlier call; empty when there is none

  at::Tensor labels;                          ///< class-specific, see heads.h
  at::Tensor start_positions, end_positions;  ///< int64 [B] or [B, 1], question answering
  at::Tensor next_sentence_label;             ///< deprecated name of `labels`, next sentence prediction
};

/// Called with the module path and the unquantized input of each quantizer that quantizes, in execution
/// order. The input may be kept, not written to; it need not have a history for gradients.
using QuantizerTap = std::function<void(const std::string& quantizer, const at::Tensor& input)>;

/// nullopt means: as the configuration says.
struct ForwardOptions {
  std::optional<bool> use_cache;
  std::optional<bool> output_attentions;
  std::optional<bool> output_hidden_states;
  quant::Arithmetic arithmetic = quant::Arithmetic::kToolkit;
  /// Recompute each layer in the backward pass instead of keeping its
  /// intermediate results. Training mode only.
  bool gradient_checkpointing = false;
  /// Distances of relative positions as the original takes them, from the current input alone: 0 to every key
  /// with a cache and one new token, no answer with several or in cross-attention to another length.
  /// Otherwise they count from the first token of the text, also where the cache holds it.
  bool original_relative_distances = false;
  /// Sees every quantizer's input, at the price of keeping it; results and gradients have the same bits.
  QuantizerTap tap;
};

/// A class fills what it has; the rest stays undefined or empty.
struct ModelOutputs {
  at::Tensor loss;                        ///< scalar
  at::Tensor logits;                      ///< class-specific
  at::Tensor start_logits, end_logits;    ///< [B, S], question answering
  at::Tensor last_hidden_state;           ///< [B, S, H]
  at::Tensor pooler_output;               ///< [B, H]
  std::vector<at::Tensor> hidden_states;  ///< L + 1 times [B, S, H]: embeddings, then every layer
  PastKeyValues past_key_values;          ///< L caches when asked for
  std::vector<at::Tensor> attentions;     ///< L times [B, A, S, S + past]: probabilities before quantization
  std::vector<at::Tensor> cross_attentions;
};

}  // namespace qdqbert::model
