// Cross-entropy against smoothed labels, computed outside of the model.
#pragma once

#include <ATen/ATen.h>

namespace qdqbert::train {

/// (1 - factor) * mean negative log likelihood + factor * mean over all classes, as the original library's
/// label smoother: logits [..., N], int64 labels [...]; labels of -100 do not count in either mean.
/// `shifted`: logits of position t are compared with the label of t + 1 (causal language models). Throws
/// InputError for labels that are no class numbers or do not fit the logits.
at::Tensor smoothed_loss(const at::Tensor& logits, const at::Tensor& labels, double factor,
                         bool shifted = false);

}  // namespace qdqbert::train
