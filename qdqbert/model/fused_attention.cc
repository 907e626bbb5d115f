#include "qdqbert/model/fused_attention.h"

#include <cmath>

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "qdqbert/nn/dropout.h"
#include "qdqbert/nn/gemm.h"
#include "qdqbert/nn/kernels/rows.h"
#include "qdqbert/nn/part_quantizer.h"

namespace qdqbert::model {
namespace {

namespace ag = torch::autograd;

bool is_float_on_cpu(const at::Tensor& x) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat;
}

bool fits(const at::Tensor& x) {
  return is_float_on_cpu(x) && x.dim() == 3 && x.is_contiguous() && x.numel() > 0;
}

bool is_constant(const at::Tensor& mask) {
  return !mask.defined() || (is_float_on_cpu(mask) && !(at::GradMode::is_enabled() && mask.requires_grad()));
}

bool learns(const AttentionOperands& operands) {
  return at::GradMode::is_enabled() &&
         (operands.q.requires_grad() || operands.k.requires_grad() || operands.v.requires_grad());
}

// The sizes of one call, and where each head of each text lies.
struct Layout {
  int64_t batch, length, width, keys, heads, size;

  explicit Layout(const AttentionOperands& operands)
      : batch(operands.q.size(0)),
        length(operands.q.size(1)),
        width(operands.q.size(2)),
        keys(operands.k.size(1)),
        heads(operands.heads),
        size(width / heads) {}

  int64_t items() const { return batch * heads; }
  int64_t scores() const { return length * keys; }
  int64_t query_offset(int64_t item) const { return item / heads * length * width + item % heads * size; }
  int64_t key_offset(int64_t item) const { return item / heads * keys * width + item % heads * size; }
};

class HeadMath {
 public:
  HeadMath(const AttentionOperands& operands, const nn::DropoutMask& dropped)
      : layout(operands),
        q_(operands.q.data_ptr<float>()),
        k_(operands.k.data_ptr<float>()),
        v_(operands.v.data_ptr<float>()),
        dropped_(dropped),
        divisor_(static_cast<float>(std::sqrt(static_cast<double>(layout.size)))) {
    const at::Tensor& mask = operands.mask;
    if (mask.defined()) {
      const at::Tensor by_four =
          mask.dim() == 4 ? mask : mask.expand({layout.batch, 1, layout.length, layout.keys});
      mask_ = by_four.expand({layout.batch, by_four.size(1), by_four.size(2), layout.keys}).contiguous();
    }
    if (operands.head_mask.defined()) head_mask_ = operands.head_mask.reshape(-1).contiguous();
  }

  // softmax(q k^T / sqrt(d) + mask) of one head, [S, K].
  void softmax(int64_t item, float* p) const {
    nn::multiply_here({layout.length, layout.keys, layout.size},
                      {q_ + layout.query_offset(item), layout.width},
                      {k_ + layout.key_offset(item), layout.width, true}, p, layout.keys);
    const float* mask = nullptr;
    size_t stride = 0;
    if (mask_.defined()) {
      const int64_t b = item / layout.heads, head = item % layout.heads;
      const int64_t block = b * mask_.size(1) + (mask_.size(1) == 1 ? 0 : head);
      mask = mask_.data_ptr<float>() + block * mask_.size(2) * layout.keys;
      stride = mask_.size(2) == 1 ? 0 : static_cast<size_t>(layout.keys);
    }
    kernels_.softmax(p, static_cast<size_t>(layout.length), static_cast<size_t>(layout.keys), divisor_, mask,
                     stride);
  }

  bool changes_probabilities() const { return drops() || head_mask_.defined(); }

  // What lies between softmax and quantizer, and, being linear,
  // between their gradients: dropout and head mask.
  void drop(int64_t item, const float* from, float* to) const {
    const auto count = static_cast<size_t>(layout.scores());
    if (drops()) {
      kernels_.apply_mask(from, dropped_.data(), static_cast<size_t>(item) * count, dropped_.scale, count,
                          to);
      from = to;
    }
    if (head_mask_.defined()) {
      const float factor = head_mask_.data_ptr<float>()[head_mask_.numel() == 1 ? 0 : item % layout.heads];
      for (size_t i = 0; i < count; ++i) to[i] = from[i] * factor;
    }
  }

  // One head's part [S, d] of `context` [B, S, A * d].
  void context(int64_t item, const float* quantized, float* context) const {
    nn::multiply_here({layout.length, layout.size, layout.keys}, {quantized, layout.keys},
                      {v_ + layout.key_offset(item), layout.width}, context + layout.query_offset(item),
                      layout.width);
  }

  struct Gradients {
    const float* context;
    float *q, *k, *v;
  };
  struct Scratch {
    float *p, *quantized, *gradient;
    uint8_t* passes;
  };

  void backward(int64_t item, const nn::PartQuantizer& quantizer, const Scratch& s,
                const Gradients& g) const {
    const int64_t rows = layout.length, keys = layout.keys, size = layout.size, width = layout.width;
    const auto count = static_cast<size_t>(layout.scores());
    softmax(item, s.p);
    const float* a = s.p;
    if (changes_probabilities()) {
      drop(item, s.p, s.quantized);
      a = s.quantized;
    }
    if (!quantizer.is_inert()) {
      quantizer.run(a, count, s.quantized, s.passes);
      a = s.quantized;
    }
    const nn::Operand context{g.context + layout.query_offset(item), width};
    nn::multiply_here({keys, size, rows}, {a, keys, true}, context, g.v + layout.key_offset(item), width);
    nn::multiply_here({rows, keys, size}, context, {v_ + layout.key_offset(item), width, true}, s.gradient,
                      keys);
    if (!quantizer.is_inert()) {
      kernels_.apply_mask(s.gradient, reinterpret_cast<const uint64_t*>(s.passes), 0, 1.0F, count,
                          s.gradient);
    }
    if (changes_probabilities()) drop(item, s.gradient, s.gradient);
    kernels_.softmax_backward(s.p, s.gradient, static_cast<size_t>(rows), static_cast<size_t>(keys),
                              divisor_);
    nn::multiply_here({rows, size, keys}, {s.gradient, keys}, {k_ + layout.key_offset(item), width},
                      g.q + layout.query_offset(item), width);
    nn::multiply_here({keys, size, rows}, {s.gradient, keys, true}, {q_ + layout.query_offset(item), width},
                      g.k + layout.key_offset(item), width);
  }

  const Layout layout;

 private:
  bool drops() const { return dropped_.words.defined(); }

  const float *q_, *k_, *v_;
  nn::DropoutMask dropped_;
  float divisor_;
  at::Tensor mask_, head_mask_;
  const nn::RowKernels& kernels_ = nn::row_kernels();
};

// body(item, scratch) with `matrices` score matrices of scratch for each thread.
template <class Body>
void for_heads(const Layout& layout, int64_t matrices, const Body& body) {
  at::parallel_for(0, layout.items(), 1, [&](int64_t begin, int64_t end) {
    const at::Tensor scratch = at::empty({std::max<int64_t>(1, matrices * layout.scores())}, at::kFloat);
    for (int64_t item = begin; item < end; ++item) body(item, scratch.data_ptr<float>());
  });
}

at::Tensor forward(const AttentionOperands& operands, const nn::DropoutMask& dropped,
                   const nn::PartQuantizer& quantizer) {
  const HeadMath math(operands, dropped);
  const Layout& layout = math.layout;
  at::Tensor context = at::empty({layout.batch, layout.length, layout.width}, at::kFloat);
  float* out = context.data_ptr<float>();
  for_heads(layout, 1, [&](int64_t item, float* p) {
    math.softmax(item, p);
    if (math.changes_probabilities()) math.drop(item, p, p);
    if (!quantizer.is_inert()) quantizer.run(p, static_cast<size_t>(layout.scores()), p, nullptr);
    math.context(item, p, out);
  });
  return context;
}

// Of all heads, after dropout and head mask: [B, A, S, K].
at::Tensor all_probabilities(const HeadMath& math) {
  const Layout& layout = math.layout;
  const at::Tensor all = at::empty({layout.batch, layout.heads, layout.length, layout.keys}, at::kFloat);
  for_heads(layout, 0, [&](int64_t item, float*) {
    float* p = all.data_ptr<float>() + item * layout.scores();
    math.softmax(item, p);
    if (math.changes_probabilities()) math.drop(item, p, p);
  });
  return all;
}

class AttentionFunction : public ag::Function<AttentionFunction> {
 public:
  static at::Tensor forward(ag::AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const nn::PartQuantizer& quantizer,
                            const AttentionOperands& operands, const nn::DropoutMask& dropped) {
    context->save_for_backward({q, k, v, operands.mask, operands.head_mask, dropped.words});
    context->saved_data["scale"] = static_cast<double>(dropped.scale);
    context->saved_data["heads"] = operands.heads;
    context->saved_data["quantizer"] = quantizer.numbers();
    return model::forward(operands, dropped, quantizer);
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const at::Tensor of_context = gradients[0].to(at::kFloat).contiguous();
    const AttentionOperands operands{saved[0], saved[1], saved[2], saved[3], saved[4], data["heads"].toInt()};
    const nn::DropoutMask dropped{saved[5], static_cast<float>(data["scale"].toDouble())};
    const auto quantizer = nn::PartQuantizer::from(data["quantizer"].toDoubleVector());
    const HeadMath math(operands, dropped);
    const Layout& layout = math.layout;
    const at::Tensor to_q = at::empty_like(saved[0]), to_k = at::empty_like(saved[1]),
                     to_v = at::empty_like(saved[2]);
    const HeadMath::Gradients pointers{of_context.data_ptr<float>(), to_q.data_ptr<float>(),
                                       to_k.data_ptr<float>(), to_v.data_ptr<float>()};
    const int64_t count = layout.scores();
    // The last matrix holds the bits, which take less than one, and the word that readers may read past them.
    for_heads(layout, 4, [&](int64_t item, float* scratch) {
      std::vector<uint8_t> small;
      auto* passes = reinterpret_cast<uint8_t*>(scratch + 3 * count);
      if (count < 16) {
        small.resize(16);
        passes = small.data();
      }
      math.backward(item, quantizer, {scratch, scratch + count, scratch + 2 * count, passes}, pointers);
    });
    return {to_q, to_k, to_v, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

bool can_fuse(const AttentionOperands& operands, const nn::TensorQuantizer& probability_quantizer,
              const LayerContext& context) {
  if (!nn::has_gemm() || !fits(operands.q) || !fits(operands.k) || !fits(operands.v) ||
      !is_constant(operands.mask) || !is_constant(operands.head_mask)) {
    return false;
  }
  if (operands.mask.defined() && operands.mask.dim() != 4) return false;
  return !learns(operands) || (!context.output_attentions &&
                               nn::PartQuantizer::of(probability_quantizer, context.arithmetic).has_value());
}

FusedAttention fused_attention(const AttentionOperands& operands, nn::TensorQuantizer& probability_quantizer,
                               const LayerContext& context) {
  const Layout layout(operands);
  nn::DropoutMask dropped;
  if (operands.dropout > 0)
    dropped = nn::next_dropout_mask(layout.items() * layout.scores(), operands.dropout);
  const auto quantizer = nn::PartQuantizer::of(probability_quantizer, context.arithmetic);
  FusedAttention result;
  if (learns(operands)) {
    if (context.tap != nullptr)
      tell(context, probability_quantizer, all_probabilities(HeadMath(operands, dropped)));
    result.context =
        AttentionFunction::apply(operands.q, operands.k, operands.v, *quantizer, operands, dropped);
    return result;
  }
  if (quantizer && !context.output_attentions && context.tap == nullptr) {
    result.context = forward(operands, dropped, *quantizer);
    return result;
  }
  // Somebody needs all probabilities: the caller, a quantizer or a tap.
  const HeadMath math(operands, dropped);
  const at::Tensor all = all_probabilities(math);
  if (context.output_attentions) result.probabilities = all;
  const at::Tensor quantized =
      quantize(probability_quantizer, all, context, !context.output_attentions).contiguous();
  result.context = at::empty({layout.batch, layout.length, layout.width}, at::kFloat);
  for_heads(layout, 0, [&](int64_t item, float*) {
    math.context(item, quantized.data_ptr<float>() + item * layout.scores(),
                 result.context.data_ptr<float>());
  });
  return result;
}

}  // namespace qdqbert::model
