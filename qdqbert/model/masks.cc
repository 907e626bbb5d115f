#include "qdqbert/model/masks.h"

#include <limits>

#include "qdqbert/base/dtype.h"
#include "qdqbert/base/error.h"

namespace qdqbert::model {
namespace {

double most_negative(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return std::numeric_limits<double>::lowest();
    case at::kHalf:
      return -65504.0;
    case at::kBFloat16:
      return -3.3895313892515355e38;
    default:
      return std::numeric_limits<float>::lowest();
  }
}

at::Tensor additive(const at::Tensor& mask, at::ScalarType dtype) {
  return (1.0 - mask.to(dtype)) * most_negative(dtype);
}

std::string shape_text(const at::Tensor& tensor) {
  return to_string(Shape(tensor.sizes().vec()));
}

at::Tensor causal(const at::Tensor& mask, int64_t batch, int64_t length) {
  const at::Tensor positions = at::arange(length, mask.device());
  at::Tensor allowed = positions.unsqueeze(0).le(positions.unsqueeze(1)).to(mask.scalar_type());
  const int64_t past = mask.size(1) - length;
  if (past > 0) allowed = at::cat({at::ones({length, past}, allowed.options()), allowed}, 1);
  if (allowed.size(1) != mask.size(1)) {
    fail("[attention mask] has {} columns, the {} new tokens need at least as many", mask.size(1), length);
  }
  return allowed.unsqueeze(0).expand({batch, length, allowed.size(1)}).unsqueeze(1) *
         mask.unsqueeze(1).unsqueeze(1);
}

}  // namespace

at::Tensor extended_attention_mask(const at::Tensor& mask, int64_t batch, int64_t length, bool is_decoder,
                                   at::ScalarType dtype) {
  if (mask.dim() == 3) return additive(mask.unsqueeze(1), dtype);
  if (mask.dim() != 2) {
    fail(
        "[attention mask] of shape {} does not fit input of shape [{}, {}]: "
        "two or three dimensions are needed",
        shape_text(mask), batch, length);
  }
  if (!is_decoder) return additive(mask.unsqueeze(1).unsqueeze(1), dtype);
  const at::Tensor numeric = mask.scalar_type() == at::kBool ? mask.to(at::kLong) : mask;
  return additive(causal(numeric, batch, length), dtype);
}

at::Tensor inverted_attention_mask(const at::Tensor& mask, at::ScalarType dtype) {
  if (mask.dim() == 3) return additive(mask.unsqueeze(1), dtype);
  if (mask.dim() == 2) return additive(mask.unsqueeze(1).unsqueeze(1), dtype);
  fail("[encoder attention mask] needs two or three dimensions, has shape {}", shape_text(mask));
}

at::Tensor head_mask_by_layer(const at::Tensor& mask, int64_t layers, at::ScalarType dtype) {
  if (mask.dim() == 1) {
    return mask.to(dtype).reshape({1, 1, -1, 1, 1}).expand({layers, 1, mask.size(0), 1, 1});
  }
  if (mask.dim() != 2) fail("[head mask] needs one or two dimensions, has shape {}", shape_text(mask));
  return mask.to(dtype).unsqueeze(1).unsqueeze(-1).unsqueeze(-1);
}

}  // namespace qdqbert::model
