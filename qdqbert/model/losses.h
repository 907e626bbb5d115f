#pragma once

#include <ATen/ATen.h>

namespace qdqbert::model {

/// Mean cross-entropy of `logits` [R, N] against int64 `labels` [R]; rows labelled `ignored` do not count
/// (NaN when all are). Throws InputError for any other label outside [0, N); labels on a device are not
/// waited for, there it makes the loss NaN.
at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels, int64_t ignored = -100);

}  // namespace qdqbert::model
