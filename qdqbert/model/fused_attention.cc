#include "qdqbert/model/fused_attention.h"

#include <cmath>
#include <cstring>

#include <ATen/Parallel.h>

#include "qdqbert/nn/gemm.h"

namespace qdqbert::model {
namespace {

bool fits(const at::Tensor& x) {
  return x.dim() == 3 && x.is_contiguous() && x.numel() > 0;
}

}  // namespace

bool can_fuse(const AttentionOperands& operands, const nn::TensorQuantizer& probability_quantizer) {
  const bool passes = probability_quantizer.is_inert();
  const at::Tensor& amax = probability_quantizer.amax();
  const bool quantizes = probability_quantizer.fake_quant() && !probability_quantizer.if_calib() &&
                         !probability_quantizer.learn_amax() && !probability_quantizer.is_unsigned() &&
                         !probability_quantizer.scale_amax() && amax.defined() && amax.numel() == 1 &&
                         amax.scalar_type() == at::kFloat;
  return nn::has_gemm() && fits(operands.q) && fits(operands.k) && fits(operands.v) &&
         (passes || quantizes) &&
         nn::is_plain_float({operands.q, operands.k, operands.v, operands.mask, operands.head_mask});
}

FusedAttention fused_attention(const AttentionOperands& operands, nn::TensorQuantizer& probability_quantizer,
                               const LayerContext& context) {
  const int64_t batch = operands.q.size(0), length = operands.q.size(1), width = operands.q.size(2);
  const int64_t keys = operands.k.size(1), heads = operands.heads, size = width / heads;
  const float *q = operands.q.data_ptr<float>(), *k = operands.k.data_ptr<float>(),
              *v = operands.v.data_ptr<float>();
  const double divisor = std::sqrt(static_cast<double>(size));
  const at::Tensor mask =
      operands.mask.defined()
          ? operands.mask.expand({batch, operands.mask.size(1), operands.mask.size(2), keys})
          : operands.mask;
  const at::Tensor head_mask =
      operands.head_mask.defined() ? operands.head_mask.reshape(-1).contiguous() : at::Tensor();

  FusedAttention result;
  result.context = at::empty({batch, length, width}, operands.q.options());
  if (context.output_attentions)
    result.probabilities = at::empty({batch, heads, length, keys}, operands.q.options());
  at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad;
    at::Tensor scores = at::empty({length, keys}), probabilities = at::empty({length, keys});
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / heads, head = item % heads;
      const int64_t query_at = b * length * width + head * size, key_at = b * keys * width + head * size;
      nn::gemm({length, keys, size}, q + query_at, width, k + key_at, width, /*transpose_b=*/true, 0.0F,
               scores.data_ptr<float>(), keys);
      scores.div_(divisor);
      if (mask.defined()) scores.add_(mask[b][mask.size(1) == 1 ? 0 : head]);
      at::_softmax_out(probabilities, scores, -1, false);
      if (head_mask.defined()) probabilities.mul_(head_mask[head_mask.numel() == 1 ? 0 : head]);
      if (context.output_attentions) result.probabilities[b][head].copy_(probabilities);
      const at::Tensor quantized = probability_quantizer.forward(probabilities, {context.arithmetic, true});
      nn::gemm({length, size, keys}, quantized.data_ptr<float>(), keys, v + key_at, width,
               /*transpose_b=*/false, 0.0F, result.context.data_ptr<float>() + query_at, width);
    }
  });
  return result;
}

}  // namespace qdqbert::model
