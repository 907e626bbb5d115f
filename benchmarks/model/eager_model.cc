#include "benchmarks/model/eager_model.h"

#include <cmath>
#include <limits>

namespace qdqbert::benchmarks {
namespace {

using model::QDQBertForQuestionAnswering;

class Eager {
 public:
  Eager(QDQBertForQuestionAnswering& model, const Collect* collect) : model_(model), collect_(collect) {}

  EagerLogits run(const at::Tensor& ids, const at::Tensor& mask) const {
    model::Embeddings& tables = *model_.bert->embeddings;
    const at::Tensor positions = at::arange(ids.size(1)).unsqueeze(0), types = at::zeros_like(ids);
    at::Tensor hidden = at::embedding(tables.word_embeddings->weight, ids) +
                        at::embedding(tables.token_type_embeddings->weight, types);
    hidden = norm(*tables.layer_norm, hidden + at::embedding(tables.position_embeddings->weight, positions));
    const at::Tensor additive =
        (1.0 - mask.unsqueeze(1).unsqueeze(2).to(at::kFloat)) * std::numeric_limits<float>::lowest();
    for (const auto& layer : model_.bert->encoder->layers) hidden = run_layer(*layer, hidden, additive);
    const auto logits = at::linear(hidden, model_.qa_outputs->weight, model_.qa_outputs->bias).split(1, -1);
    return {logits[0].squeeze(-1).contiguous(), logits[1].squeeze(-1).contiguous()};
  }

 private:
  at::Tensor quantize(nn::TensorQuantizer& quantizer, const at::Tensor& x) const {
    if (collect_ != nullptr) {
      (*collect_)(quantizer, x);
      return x;
    }
    const at::Tensor& amax = quantizer.amax();
    const at::Tensor bound = at::scalar_tensor(127.0F), low = at::scalar_tensor(-128.0F);
    const double smallest = amax.min().item<double>();
    at::Tensor scale = bound / amax;
    if (smallest <= 1.0 / (1 << 24)) scale = scale.masked_fill(amax <= 1.0 / (1 << 24), 0);
    return at::clamp((x * scale).round_(), low, bound) / scale;
  }

  at::Tensor linear(nn::QuantLinear& layer, const at::Tensor& x) const {
    const at::Tensor input = quantize(layer.input_quantizer(), x);
    return at::linear(input, quantize(layer.weight_quantizer(), layer.weight), layer.bias);
  }

  static at::Tensor norm(const model::LayerNorm& layer, const at::Tensor& x) { return layer.forward(x); }

  at::Tensor residual(model::ResidualOutput& output, const at::Tensor& hidden,
                      const at::Tensor& input) const {
    const at::Tensor local = quantize(*output.add_local_input_quantizer, linear(*output.dense, hidden));
    return norm(*output.layer_norm, local + quantize(*output.add_residual_input_quantizer, input));
  }

  at::Tensor run_layer(model::Layer& layer, const at::Tensor& hidden, const at::Tensor& mask) const {
    model::SelfAttention& self = *layer.attention->self;
    const auto heads = [&](const at::Tensor& x) {
      return x.view({x.size(0), x.size(1), self.heads(), self.head_size()}).permute({0, 2, 1, 3});
    };
    const at::Tensor q = heads(linear(*self.query, hidden)), k = heads(linear(*self.key, hidden)),
                     v = heads(linear(*self.value, hidden));
    at::Tensor scores = at::matmul(quantize(*self.matmul_q_input_quantizer, q),
                                   quantize(*self.matmul_k_input_quantizer, k.transpose(-1, -2)));
    scores = scores / std::sqrt(static_cast<double>(self.head_size()));
    scores = scores + mask;
    const at::Tensor probabilities = at::softmax(scores, -1);
    const at::Tensor context = at::matmul(quantize(*self.matmul_a_input_quantizer, probabilities),
                                          quantize(*self.matmul_v_input_quantizer, v));
    const at::Tensor merged = context.permute({0, 2, 1, 3}).contiguous().view(hidden.sizes());
    const at::Tensor attended = residual(*layer.attention->output, merged, hidden);
    const at::Tensor activated = at::gelu(linear(*layer.intermediate->dense, attended));
    return residual(*layer.output, activated, attended);
  }

  QDQBertForQuestionAnswering& model_;
  const Collect* collect_;
};

}  // namespace

EagerLogits eager_forward(QDQBertForQuestionAnswering& model, const at::Tensor& ids, const at::Tensor& mask) {
  return Eager(model, nullptr).run(ids, mask);
}

EagerLogits eager_calibration(QDQBertForQuestionAnswering& model, const at::Tensor& ids,
                              const at::Tensor& mask, const Collect& collect) {
  return Eager(model, &collect).run(ids, mask);
}

}  // namespace qdqbert::benchmarks
