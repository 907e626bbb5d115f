#include "qdqbert/train/task_data.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "qdqbert/base/error.h"
#include "qdqbert/nn/autocast.h"

namespace qdqbert::train {

void run_over(model::PreTrainedModel& model, TaskData& data, int64_t batch_size, const ProgressSink& progress,
              Products products) {
  const bool by_length = has_fixed_ranges(model) && data.pads_right();
  const int64_t count = data.size();
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  int64_t widest = 1;
  for (const int64_t sample : order) widest = std::max(widest, data.width(sample));
  if (by_length)
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return data.length(a) > data.length(b); });
  model.eval();
  const at::NoGradGuard no_grad;
  std::optional<nn::Bf16Autocast> autocast;
  if (products == Products::kBf16) autocast.emplace();
  data.begin_evaluation(/*padded=*/!by_length);
  for (int64_t done = 0; done < count;) {
    int64_t taken = batch_size, width = 0;
    if (by_length) {
      width = data.length(order[static_cast<size_t>(done)]);
      taken = std::max<int64_t>(1, batch_size * widest / std::max<int64_t>(1, width));
    }
    taken = std::min(taken, count - done);
    const std::span<const int64_t> samples(order.data() + done, static_cast<size_t>(taken));
    if (!by_length)
      for (const int64_t sample : samples) width = std::max(width, data.width(sample));
    model::ForwardOptions options;
    options.use_cache = false;
    data.collect(samples, model.forward(data.inputs(samples, width), options));
    done += taken;
    if (progress) progress("evaluating", done, count);
  }
}

model::ModelInputs inputs_of(const tasks::TokenRows& rows, std::span<const int64_t> samples, int64_t width) {
  const auto make = [&] { return at::empty({static_cast<int64_t>(samples.size()), width}, at::kLong); };
  model::ModelInputs inputs;
  inputs.input_ids = make();
  inputs.attention_mask = make();
  inputs.token_type_ids = make();
  const auto columns = static_cast<size_t>(width);
  const auto row = [&](const at::Tensor& tensor, size_t r) {
    return std::span(tensor.data_ptr<int64_t>() + r * columns, columns);
  };
  for (size_t r = 0; r < samples.size(); ++r)
    rows.fill(static_cast<size_t>(samples[r]), row(inputs.input_ids, r), row(inputs.attention_mask, r),
              row(inputs.token_type_ids, r));
  return inputs;
}

double negative_log_likelihood(std::span<const float> logits, size_t label) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float v : logits) sum += std::exp(v - largest);
  return largest + std::log(sum) - logits[label];
}

int64_t batch_width(const TaskData& data, std::span<const int64_t> samples, int64_t multiple) {
  int64_t columns = 1;
  for (const int64_t sample : samples) columns = std::max(columns, data.width(sample));
  return (columns + multiple - 1) / multiple * multiple;
}

}  // namespace qdqbert::train
