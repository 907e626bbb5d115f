#include "qdqbert/model/attention.h"

#include <algorithm>
#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/model/fused_attention.h"
#include "qdqbert/nn/autocast.h"
#include "qdqbert/nn/dropout.h"
#include "qdqbert/nn/gemm.h"
#include "qdqbert/nn/residual_norm.h"

namespace qdqbert::model {
namespace {

at::Tensor dropped(const at::Tensor& x, double probability, bool training) {
  return training && probability > 0 ? nn::dropout(x, probability) : x;
}

std::shared_ptr<nn::TensorQuantizer> input_quantizer(const nn::QuantDefaults& defaults) {
  return std::make_shared<nn::TensorQuantizer>(defaults.input);
}

// One range for the whole tensor does not see the layout.
bool splits_freely(const nn::TensorQuantizer& quantizer) {
  return !quantizer.axis() && (!quantizer.has_amax() || quantizer.amax().numel() == 1);
}

// In place where that keeps the result's type and shape.
void add_to(at::Tensor& sum, const at::Tensor& term) {
  const bool fits =
      at::result_type(sum, term) == sum.scalar_type() && at::is_expandable_to(term.sizes(), sum.sizes());
  if (fits) {
    sum.add_(term);
  } else {
    sum = sum + term;
  }
}

}  // namespace

void tell(const LayerContext& context, const nn::TensorQuantizer& quantizer, const at::Tensor& x) {
  if (context.tap != nullptr && !quantizer.disabled() && quantizer.if_quant())
    (*context.tap)(quantizer.label(), x);
}

at::Tensor quantize(nn::TensorQuantizer& quantizer, const at::Tensor& x, const LayerContext& context,
                    bool may_overwrite) {
  tell(context, quantizer, x);
  return quantizer.forward(x, context.call(may_overwrite));
}

at::Tensor quantize(nn::TensorQuantizer& quantizer, nn::SharedInput& x, const LayerContext& context) {
  tell(context, quantizer, x.tensor());
  return x.quantize(quantizer, context.arithmetic);
}

at::Tensor forward_linear(nn::QuantLinear& linear, const at::Tensor& x, const LayerContext& context,
                          bool may_overwrite) {
  const at::Tensor quantized = quantize(linear.input_quantizer(), x, context, may_overwrite);
  tell(context, linear.weight_quantizer(), linear.weight);
  return linear.forward_quantized(quantized, context.call(false));
}

at::Tensor forward_linear(nn::QuantLinear& linear, nn::SharedInput& x, const LayerContext& context) {
  const at::Tensor quantized = quantize(linear.input_quantizer(), x, context);
  tell(context, linear.weight_quantizer(), linear.weight);
  return linear.forward_quantized(quantized, context.call(false));
}

SelfAttention::SelfAttention(const io::BertConfig& config, const nn::QuantDefaults& defaults)
    : torch::nn::Module("QDQBertSelfAttention"),
      heads_(config.num_attention_heads),
      head_size_(config.head_size()),
      max_positions_(config.max_position_embeddings),
      dropout_(config.attention_probs_dropout_prob),
      is_decoder_(config.is_decoder),
      positions_(config.position_embedding()) {
  const auto projection = [&] {
    return std::make_shared<nn::QuantLinear>(config.hidden_size, heads_ * head_size_, true, defaults);
  };
  query = register_module("query", projection());
  key = register_module("key", projection());
  value = register_module("value", projection());
  if (positions_ == io::PositionEmbedding::kRelativeKey ||
      positions_ == io::PositionEmbedding::kRelativeKeyQuery) {
    const auto table = std::make_shared<Embedding>(2 * max_positions_ - 1, head_size_);
    distance_embedding_ = table->weight;
    register_module("distance_embedding", table);
  }
  matmul_q_input_quantizer = register_module("matmul_q_input_quantizer", input_quantizer(defaults));
  matmul_k_input_quantizer = register_module("matmul_k_input_quantizer", input_quantizer(defaults));
  matmul_v_input_quantizer = register_module("matmul_v_input_quantizer", input_quantizer(defaults));
  matmul_a_input_quantizer = register_module("matmul_a_input_quantizer", input_quantizer(defaults));
}

at::Tensor SelfAttention::split(const at::Tensor& x) const {
  return x.view({x.size(0), x.size(1), heads_, head_size_}).transpose(1, 2);
}

// One range for the whole tensor does not see the layout, so the contiguous
// form before the transposition serves.
at::Tensor SelfAttention::quantize_split(nn::TensorQuantizer& quantizer, const at::Tensor& x,
                                         const LayerContext& context, bool may_overwrite,
                                         bool transposed) const {
  const bool by_head = x.dim() == 4;  // keys and values from a cache come in this form
  if (splits_freely(quantizer)) {
    const at::Tensor y = quantize(quantizer, x, context, may_overwrite);
    const at::Tensor heads = by_head ? y : split(y);
    return transposed ? heads.transpose(-1, -2) : heads;
  }
  const at::Tensor heads = by_head ? x : split(x);
  return quantize(quantizer, transposed ? heads.transpose(-1, -2) : heads, context, false);
}

// q [B, A, S, d], k [B, A, K, d]; keys count from the first token of the text.
at::Tensor SelfAttention::relative_scores(const at::Tensor& q, const at::Tensor& k,
                                          const LayerContext& context) const {
  const int64_t queries = q.size(2), keys = k.size(2);
  const bool original = context.original_relative_distances;
  if (original && queries != 1 && queries != keys) {
    fail(
        "[attention] the original's relative distances need as many keys as queries, "
        "got {} keys for {} queries",
        keys, queries);
  }
  const int64_t first = original ? 0 : context.first_position, length = std::max(first + queries, keys);
  if (length > max_positions_) {
    fail("[attention] {} positions exceed the {} that relative distances are known for", length,
         max_positions_);
  }
  const at::Tensor positions = at::arange(length, distance_embedding_.device());
  at::Tensor distance =
      positions.slice(0, first, first + queries).unsqueeze(1) - positions.slice(0, 0, keys).unsqueeze(0);
  if (original && queries == 1) distance = at::zeros_like(distance);
  const at::Tensor table =
      at::embedding(distance_embedding_, distance + (max_positions_ - 1)).to(q.scalar_type());
  at::Tensor terms = at::einsum("bhld,lrd->bhlr", {q, table});
  if (positions_ == io::PositionEmbedding::kRelativeKeyQuery)
    terms = terms + at::einsum("bhrd,lrd->bhlr", {k, table});
  return terms;
}

SelfAttentionOutput SelfAttention::forward(nn::SharedInput& hidden, const at::Tensor& mask,
                                           const at::Tensor& head_mask, const at::Tensor& encoder_states,
                                           const LayerCache& past, const LayerContext& context) {
  const bool crosses = encoder_states.defined(), relative = distance_embedding_.defined();
  at::Tensor q = forward_linear(*query, hidden, context);
  at::Tensor k, v;
  if (crosses && !past.empty()) {
    k = past[0];
    v = past[1];
  } else if (crosses) {
    nn::SharedInput states(encoder_states);
    k = forward_linear(*key, states, context);
    v = forward_linear(*value, states, context);
  } else {
    k = forward_linear(*key, hidden, context);
    v = forward_linear(*value, hidden, context);
    if (!past.empty()) {
      k = at::cat({past[0], split(k)}, 2);
      v = at::cat({past[1], split(v)}, 2);
    }
  }
  SelfAttentionOutput result;
  if (is_decoder_) result.present = {k.dim() == 4 ? k : split(k), v.dim() == 4 ? v : split(v)};

  check_masks(mask, head_mask, q.size(1), k.dim() == 4 ? k.size(2) : k.size(1));
  const bool flat = k.dim() == 3 && splits_freely(*matmul_q_input_quantizer) &&
                    splits_freely(*matmul_k_input_quantizer) && splits_freely(*matmul_v_input_quantizer);
  if (flat && !relative) {
    AttentionOperands operands{quantize(*matmul_q_input_quantizer, q, context, true),
                               quantize(*matmul_k_input_quantizer, k, context, !is_decoder_),
                               quantize(*matmul_v_input_quantizer, v, context, !is_decoder_),
                               mask,
                               head_mask,
                               heads_,
                               is_training() ? dropout_ : 0};
    if (can_fuse(operands, *matmul_a_input_quantizer, context)) {
      FusedAttention fused = fused_attention(operands, *matmul_a_input_quantizer, context);
      result.context = fused.context;
      result.probabilities = fused.probabilities;
      return result;
    }
    attend(split(operands.q), split(operands.k).transpose(-1, -2), split(operands.v), at::Tensor(), mask,
           head_mask, context, result);
    return result;
  }
  const at::Tensor quantized_q = quantize_split(*matmul_q_input_quantizer, q, context, !relative, false);
  const at::Tensor quantized_k =
      quantize_split(*matmul_k_input_quantizer, k, context, !relative && !is_decoder_, true);
  const at::Tensor quantized_v = quantize_split(*matmul_v_input_quantizer, v, context, !is_decoder_, false);
  const at::Tensor relative_terms =
      relative ? relative_scores(split(q), k.dim() == 4 ? k : split(k), context) : at::Tensor();
  attend(quantized_q, quantized_k, quantized_v, relative_terms, mask, head_mask, context, result);
  return result;
}

// q [B, A, S, d], transposed k [B, A, d, K], v [B, A, K, d], all quantized.
void SelfAttention::attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const at::Tensor& relative, const at::Tensor& mask, const at::Tensor& head_mask,
                           const LayerContext& context, SelfAttentionOutput& result) {
  at::Tensor scores = at::matmul(q, k);
  if (nn::HalfAutocast::is_on()) scores = scores.to(at::kFloat);
  if (relative.defined()) add_to(scores, relative);
  scores.div_(std::sqrt(static_cast<double>(head_size_)));
  if (mask.defined()) add_to(scores, mask);
  at::Tensor probabilities = dropped(at::softmax(scores, -1), dropout_, is_training());
  if (head_mask.defined()) probabilities = probabilities * head_mask;
  if (context.output_attentions) result.probabilities = probabilities;
  const at::Tensor quantized_a =
      quantize(*matmul_a_input_quantizer, probabilities, context, !context.output_attentions);
  const at::Tensor by_head = at::matmul(quantized_a, v);
  result.context = by_head.transpose(1, 2).reshape({q.size(0), q.size(2), heads_ * head_size_});
}

void SelfAttention::check_masks(const at::Tensor& mask, const at::Tensor& head_mask, int64_t queries,
                                int64_t keys) const {
  const auto agrees = [](int64_t size, int64_t wanted) { return size == 1 || size == wanted; };
  if (mask.defined() && !(agrees(mask.size(-1), keys) && agrees(mask.size(-2), queries))) {
    fail("[attention mask] of shape {} does not fit {} queries and {} keys",
         to_string(Shape(mask.sizes().vec())), queries, keys);
  }
  if (head_mask.defined() && !agrees(head_mask.numel(), heads_)) {
    fail("[head mask] has {} heads, the layer has {}", head_mask.numel(), heads_);
  }
}

void SelfAttention::keep_heads(const at::Tensor& features, int64_t heads) {
  query->keep_rows(features);
  key->keep_rows(features);
  value->keep_rows(features);
  heads_ = heads;
}

ResidualOutput::ResidualOutput(int64_t in_features, const io::BertConfig& config,
                               const nn::QuantDefaults& defaults)
    : torch::nn::Module("QDQBertOutput"), dropout_(config.hidden_dropout_prob) {
  dense = register_module("dense",
                          std::make_shared<nn::QuantLinear>(in_features, config.hidden_size, true, defaults));
  layer_norm =
      register_module("LayerNorm", std::make_shared<LayerNorm>(config.hidden_size, config.layer_norm_eps));
  add_local_input_quantizer = register_module("add_local_input_quantizer", input_quantizer(defaults));
  add_residual_input_quantizer = register_module("add_residual_input_quantizer", input_quantizer(defaults));
}

at::Tensor ResidualOutput::forward(const at::Tensor& hidden, nn::SharedInput& residual,
                                   const LayerContext& context, bool may_overwrite) {
  const at::Tensor linear = forward_linear(*dense, hidden, context, may_overwrite);
  const auto local = nn::PartQuantizer::of(*add_local_input_quantizer, context.arithmetic);
  const auto added = nn::PartQuantizer::of(*add_residual_input_quantizer, context.arithmetic);
  if (local && added) {
    nn::ResidualNorm fused{linear,
                           residual.tensor(),
                           layer_norm->weight,
                           layer_norm->bias,
                           layer_norm->epsilon(),
                           is_training() ? dropout_ : 0,
                           *local,
                           *added};
    if (fused.fits()) {
      if (context.tap == nullptr) return nn::residual_norm(fused);
      fused.dropped = at::empty(linear.sizes(), linear.options());
      const at::Tensor result = nn::residual_norm(fused);
      tell(context, *add_local_input_quantizer, fused.dropped);
      tell(context, *add_residual_input_quantizer, residual.tensor());
      return result;
    }
  }
  const at::Tensor transformed = dropped(linear, dropout_, is_training());
  at::Tensor sum = quantize(*add_local_input_quantizer, transformed, context, true);
  const at::Tensor quantized_residual = quantize(*add_residual_input_quantizer, residual, context);
  // The sum is no tap's and nobody else's tensor unless the quantizer handed its input through.
  if (sum.is_same(transformed) && context.tap != nullptr) {
    sum = sum + quantized_residual;
  } else {
    add_to(sum, quantized_residual);
  }
  return layer_norm->forward(sum);
}

Attention::Attention(const io::BertConfig& config, const nn::QuantDefaults& defaults)
    : torch::nn::Module("QDQBertAttention") {
  self = register_module("self", std::make_shared<SelfAttention>(config, defaults));
  output = register_module("output", std::make_shared<ResidualOutput>(config.hidden_size, config, defaults));
  for (int64_t head = 0; head < self->heads(); ++head) remaining_heads_.push_back(head);
}

AttentionOutput Attention::forward(const at::Tensor& hidden, const at::Tensor& mask,
                                   const at::Tensor& head_mask, const at::Tensor& encoder_states,
                                   const LayerCache& past, const LayerContext& context) {
  nn::SharedInput shared(hidden);
  SelfAttentionOutput attended = self->forward(shared, mask, head_mask, encoder_states, past, context);
  return {output->forward(attended.context, shared, context, true), attended.probabilities,
          std::move(attended.present)};
}

void Attention::prune_heads(const std::set<int64_t>& heads) {
  std::vector<int64_t> kept_heads, features;
  const int64_t size = self->head_size();
  for (size_t position = 0; position < remaining_heads_.size(); ++position) {
    if (heads.contains(remaining_heads_[position])) continue;
    kept_heads.push_back(remaining_heads_[position]);
    for (int64_t i = 0; i < size; ++i) features.push_back(static_cast<int64_t>(position) * size + i);
  }
  if (kept_heads.size() == remaining_heads_.size()) return;
  if (kept_heads.empty())
    fail("[pruning] a layer must keep at least one of its {} heads", remaining_heads_.size());
  const at::Tensor indices = at::tensor(features, at::kLong);
  self->keep_heads(indices, static_cast<int64_t>(kept_heads.size()));
  output->dense->keep_columns(indices);
  remaining_heads_ = std::move(kept_heads);
}

}  // namespace qdqbert::model
