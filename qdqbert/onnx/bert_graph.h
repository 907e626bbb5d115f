// Writes a QDQBERT model as an ONNX graph with explicit Q/DQ pairs,
// from plain descriptions: no LibTorch here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "qdqbert/base/dtype.h"
#include "qdqbert/onnx/activation_graph.h"
#include "qdqbert/onnx/model.h"

namespace qdqbert::onnx {

enum class GraphPositions { kAbsolute, kRelativeKey, kRelativeKeyQuery, kNone };

/// What stands on the encoder. Outputs, B batch, S sequence, C choices, N labels, V vocabulary:
enum class GraphHead {
  kBase,                    ///< last_hidden_state [B, S, H], pooler_output [B, H] where there is a pooler
  kQuestionAnswering,       ///< output_start_logits, output_end_logits [B, S]
  kSequenceClassification,  ///< logits [B, N]
  kTokenClassification,     ///< logits [B, S, N]
  kMultipleChoice,          ///< inputs [B, C, S], logits [B, C]
  kNextSentence,            ///< logits [B, 2]
  kLanguageModel,           ///< logits [B, S, V]
};

/// Keys and values of a decoder between calls, A heads of d columns, P tokens before. N counts the layers.
enum class GraphCache {
  kNone,
  /// Outputs present.N.key, present.N.value [B, A, S, d]; with cross-attention present.N.decoder.key, ... and
  /// present.N.encoder.key, ... [B, A, T, d].
  kPresent,
  /// And inputs past_key_values.N.key, ... [B, A, P, d] of the same form; attention_mask is [B, P + S] then,
  /// and what the cross-attention needs comes from the past alone.
  kPast,
};

/// The state of one quantizer. A disabled one leaves no nodes.
struct QuantizerRange {
  bool enabled = false;
  int num_bits = 8;
  bool is_unsigned = false;
  bool narrow_range = false;
  /// One value for the whole tensor, or with `per_channel` one for each output feature
  /// of a weight. Empty: not calibrated.
  std::vector<float> amax;
  bool per_channel = false;
};

/// A model as the graph writer sees it. Names are state-dict keys and module paths of the original.
struct BertSource {
  GraphHead head = GraphHead::kQuestionAnswering;
  std::string base_prefix = "bert.";  ///< "" for the base model alone
  bool has_pooler = false;
  int64_t layers = 0;
  int64_t hidden_size = 0;
  /// Heads of a layer: rows of its query weight / head_size (pruned layers have fewer).
  int64_t head_size = 0;
  int64_t max_positions = 0;
  double layer_norm_eps = 1e-12;
  ActivationGraph activation = ActivationGraph::kGelu;
  GraphPositions positions = GraphPositions::kAbsolute;
  /// A token sees no later one.
  bool is_decoder = false;
  /// Each layer also attends to encoder_hidden_states. Decoders only.
  bool cross_attention = false;
  /// The decoder weight of a language model is the word embedding.
  bool tied_decoder = false;

  /// A float32 tensor by state-dict key, alive until the graph is built. Throws when there is none.
  std::function<TensorView(const std::string& key)> weight;
  /// The quantizer at a module path; an absent quantizer is a disabled one.
  std::function<QuantizerRange(const std::string& path)> quantizer;
};

struct BertGraphOptions {
  /// 13 to 17: everything in float32. 19: the same graph in half precision, scales included; inputs stay
  /// int64 and outputs float32.
  int opset = 13;
  /// Quantized weights as INT8 initializers behind a DequantizeLinear, without QuantizeLinear.
  bool int8_weights = false;
  /// Puts the factor 1 / sqrt(head size) before the query's Q, as NVIDIA's guides advise. The TensorRT that
  /// was asked (docs/deploy.md) fuses attention without it, too. Changes nothing when sqrt(head size) is a
  /// power of two, else a few codes.
  bool trt_attention = false;
  /// Of decoders.
  GraphCache cache = GraphCache::kNone;
  /// Further outputs hidden_states.0 (embeddings) to hidden_states.L (the last layer), [B, S, H]; of a class
  /// with a head last_hidden_state too.
  bool hidden_states = false;
  /// Of a class with a head that does not read the pooler itself: a further output pooler_output [B, H].
  bool pooler_output = false;
};

/// Inputs int64 input_ids, attention_mask, token_type_ids [batch_size, seq_len] (multiple choice:
/// [batch_size, num_choices, seq_len]). With cross-attention also float32 encoder_hidden_states
/// [batch_size, encoder_seq_len, H] and int64 encoder_attention_mask [batch_size, encoder_seq_len]. One Q/DQ
/// pair for each (tensor, scale): 16 a layer when everything is enabled and equal inputs have equal ranges.
/// Scale: amax / 127; where amax is so small that the toolkit gives 0 (at most 2^-24) the smallest normal
/// number (in half precision the smallest of all), so that the dequantized value is 0 up to that number.
/// Float32 weights on a rounding tie move by their last bits, so that the file's codes are those of the
/// toolkit's arithmetic. Throws InputError naming the quantizer that has no range or is not signed full-range
/// 8 bit, for an opset outside the list, for shapes that do not fit each other, and for a weight or scale
/// that half precision cannot hold. Relative positions count from the first token of the text, also where a
/// past holds it, and from the first encoder token in cross-attention.
Model build_bert_graph(const BertSource& source, const BertGraphOptions& options = {});

}  // namespace qdqbert::onnx
