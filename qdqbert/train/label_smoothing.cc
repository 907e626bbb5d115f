#include "qdqbert/train/label_smoothing.h"

#include "qdqbert/base/dtype.h"
#include "qdqbert/base/error.h"

namespace qdqbert::train {

namespace {

constexpr int64_t kIgnored = -100;

std::string shape_text(const at::Tensor& tensor) {
  return to_string(Shape(tensor.sizes().begin(), tensor.sizes().end()));
}

}  // namespace

at::Tensor smoothed_loss(const at::Tensor& all_logits, const at::Tensor& all_labels, double factor,
                         bool shifted) {
  if (all_labels.scalar_type() != at::kLong)
    fail("[label_smoothing_factor] labels are not class numbers, so they cannot be smoothed");
  at::Tensor logits = all_logits, labels = all_labels;
  if (shifted) {
    logits = logits.slice(1, 0, -1);
    labels = labels.slice(1, 1);
  }
  const int64_t classes = logits.size(-1);
  if (labels.numel() * classes != logits.numel())
    fail("[label_smoothing_factor] labels of shape {} do not fit logits of shape {}", shape_text(labels),
         shape_text(logits));
  const at::Tensor costs = at::log_softmax(logits.to(at::kFloat).reshape({-1, classes}), -1).neg();
  const at::Tensor flat = labels.reshape({-1});
  const at::Tensor ignored = flat.eq(kIgnored);
  const at::Tensor counted = flat.numel() - ignored.sum();
  const at::Tensor likelihood = costs.gather(-1, flat.clamp_min(0).unsqueeze(-1)).squeeze(-1);
  const at::Tensor uniform = costs.sum(-1);
  const auto mean = [&](const at::Tensor& values, const at::Tensor& count) {
    return values.masked_fill(ignored, 0.0).sum() / count.to(at::kFloat);
  };
  return (1 - factor) * mean(likelihood, counted) + factor * mean(uniform, counted * classes);
}

}  // namespace qdqbert::train
