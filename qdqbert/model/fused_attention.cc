#include "qdqbert/model/fused_attention.h"

#include <cmath>

#include <ATen/Parallel.h>

#include "qdqbert/nn/gemm.h"

namespace qdqbert::model {
namespace {

bool fits(const at::Tensor& x) {
  return x.dim() == 3 && x.is_contiguous() && x.numel() > 0;
}

// Whether the quantizer's result for a part of a tensor depends on that part alone.
bool works_on_parts(const nn::TensorQuantizer& quantizer) {
  const at::Tensor& amax = quantizer.amax();
  return quantizer.is_inert() ||
         (quantizer.fake_quant() && !quantizer.if_calib() && !quantizer.learn_amax() &&
          !quantizer.scale_amax() && amax.defined() && amax.numel() == 1);
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

  int64_t query_offset(int64_t item) const { return item / heads * length * width + item % heads * size; }
  int64_t key_offset(int64_t item) const { return item / heads * keys * width + item % heads * size; }
};

class HeadMath {
 public:
  HeadMath(const AttentionOperands& operands, const Layout& layout) : operands_(operands), layout_(layout) {
    const at::Tensor& mask = operands.mask;
    if (mask.defined()) mask_ = mask.expand({layout.batch, mask.size(1), mask.size(2), layout.keys});
    if (operands.head_mask.defined()) head_mask_ = operands.head_mask.reshape(-1);
  }

  // softmax(q k^T / sqrt(d) + mask) * head mask of one head, [S, K]; `scores` is scratch of that shape.
  void probabilities(int64_t item, const at::Tensor& scores, const at::Tensor& out) const {
    const int64_t b = item / layout_.heads, head = item % layout_.heads;
    nn::gemm({layout_.length, layout_.keys, layout_.size},
             operands_.q.data_ptr<float>() + layout_.query_offset(item), layout_.width,
             operands_.k.data_ptr<float>() + layout_.key_offset(item), layout_.width,
             /*transpose_b=*/true, 0.0F, scores.data_ptr<float>(), layout_.keys);
    scores.div_(std::sqrt(static_cast<double>(layout_.size)));
    if (mask_.defined()) scores.add_(mask_[b][mask_.size(1) == 1 ? 0 : head]);
    at::Tensor target = out;
    at::_softmax_out(target, scores, -1, false);
    if (head_mask_.defined()) out.mul_(head_mask_[head_mask_.numel() == 1 ? 0 : head]);
  }

  // One head's part [S, d] of `context` [B, S, A * d].
  void context(int64_t item, const at::Tensor& quantized, const at::Tensor& context) const {
    nn::gemm({layout_.length, layout_.size, layout_.keys}, quantized.data_ptr<float>(), layout_.keys,
             operands_.v.data_ptr<float>() + layout_.key_offset(item), layout_.width, /*transpose_b=*/false,
             0.0F, context.data_ptr<float>() + layout_.query_offset(item), layout_.width);
  }

 private:
  const AttentionOperands& operands_;
  const Layout& layout_;
  at::Tensor mask_, head_mask_;
};

template <class Body>
void for_heads(const Layout& layout, const Body& body) {
  at::parallel_for(0, layout.batch * layout.heads, 1, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad;
    const at::Tensor scores = at::empty({layout.length, layout.keys}), scratch = at::empty_like(scores);
    for (int64_t item = begin; item < end; ++item) body(item, scores, scratch);
  });
}

}  // namespace

bool can_fuse(const AttentionOperands& operands) {
  return nn::has_gemm() && fits(operands.q) && fits(operands.k) && fits(operands.v) &&
         nn::is_plain_float({operands.q, operands.k, operands.v, operands.mask, operands.head_mask});
}

FusedAttention fused_attention(const AttentionOperands& operands, nn::TensorQuantizer& probability_quantizer,
                               const LayerContext& context) {
  const Layout layout(operands);
  const HeadMath math(operands, layout);
  const bool whole = !works_on_parts(probability_quantizer);
  const auto options = operands.q.options();
  FusedAttention result;
  result.context = at::empty({layout.batch, layout.length, layout.width}, options);
  at::Tensor all;
  if (whole || context.output_attentions) {
    all = at::empty({layout.batch, layout.heads, layout.length, layout.keys}, options);
  }
  const at::Tensor by_item = all.defined() ? all.flatten(0, 1) : all;
  for_heads(layout, [&](int64_t item, const at::Tensor& scores, const at::Tensor& scratch) {
    const at::Tensor probabilities = all.defined() ? by_item[item] : scratch;
    math.probabilities(item, scores, probabilities);
    if (whole) return;
    const nn::QuantCall call{context.arithmetic, /*may_overwrite=*/!all.defined()};
    math.context(item, probability_quantizer.forward(probabilities, call), result.context);
  });
  if (context.output_attentions) result.probabilities = all;
  if (!whole) return result;
  const at::Tensor quantized =
      probability_quantizer.forward(all, context.call(!context.output_attentions)).contiguous().flatten(0, 1);
  for_heads(layout, [&](int64_t item, const at::Tensor&, const at::Tensor&) {
    math.context(item, quantized[item], result.context);
  });
  return result;
}

}  // namespace qdqbert::model
