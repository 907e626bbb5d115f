#include "qdqbert/model/losses.h"

#include <limits>

#include "qdqbert/base/dtype.h"
#include "qdqbert/base/error.h"

namespace qdqbert::model {

at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels, int64_t ignored) {
  if (labels.dim() != 1 || labels.size(0) != logits.size(0)) {
    fail("[loss] labels of shape {} do not fit {} rows of logits", to_string(Shape(labels.sizes().vec())),
         logits.size(0));
  }
  const at::Tensor classes = labels.to(at::kLong);
  const at::Tensor wrong =
      classes.ne(ignored).logical_and(classes.lt(0).logical_or(classes.ge(logits.size(1))));
  if (!classes.device().is_cpu()) {
    // To ask a device means to wait for it, so what the CPU refuses becomes NaN.
    return at::cross_entropy_loss(logits, classes.masked_fill(wrong, ignored), {}, at::Reduction::Mean,
                                  ignored)
        .masked_fill(wrong.any(), std::numeric_limits<double>::quiet_NaN());
  }
  if (wrong.any().item<bool>()) {
    fail("[loss] label {} lies outside the {} classes", classes.masked_select(wrong)[0].item<int64_t>(),
         logits.size(1));
  }
  return at::cross_entropy_loss(logits, classes, {}, at::Reduction::Mean, ignored);
}

}  // namespace qdqbert::model
