#include "qdqbert/train/task_data.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>

#include "qdqbert/base/error.h"
#include "qdqbert/base/math.h"
#include "qdqbert/nn/autocast.h"
#include "qdqbert/train/device.h"

namespace qdqbert::train {

namespace {

struct EvaluationBatch {
  std::span<const int64_t> samples;
  int64_t width;
};

std::vector<EvaluationBatch> batches_of(const TaskData& data, std::span<const int64_t> order,
                                        int64_t batch_size, bool by_length) {
  const auto count = static_cast<int64_t>(order.size());
  int64_t widest = 1;
  for (const int64_t sample : order) widest = std::max(widest, data.width(sample));
  std::vector<EvaluationBatch> batches;
  for (int64_t done = 0; done < count;) {
    int64_t taken = batch_size, width = 0;
    if (by_length) {
      width = data.length(order[static_cast<size_t>(done)]);
      taken = std::max<int64_t>(1, batch_size * widest / std::max<int64_t>(1, width));
    }
    taken = std::min(taken, count - done);
    const std::span<const int64_t> samples =
        order.subspan(static_cast<size_t>(done), static_cast<size_t>(taken));
    if (!by_length)
      for (const int64_t sample : samples) width = std::max(width, data.width(sample));
    batches.push_back({samples, width});
    done += taken;
  }
  return batches;
}

// What a task reads from outputs.
constexpr at::Tensor model::ModelOutputs::*kCollected[] = {
    &model::ModelOutputs::logits, &model::ModelOutputs::start_logits, &model::ModelOutputs::end_logits,
    &model::ModelOutputs::last_hidden_state};

template <class Value>
void append(std::string& bytes, const Value* values, int64_t count) {
  bytes.append(reinterpret_cast<const char*>(values), static_cast<size_t>(count) * sizeof(Value));
}

std::string packed(const model::ModelOutputs& outputs) {
  std::string bytes;
  for (const auto field : kCollected) {
    const at::Tensor& tensor = outputs.*field;
    const int64_t dims = tensor.defined() ? tensor.dim() : -1;
    append(bytes, &dims, 1);
    if (dims < 0) continue;
    const at::Tensor values = tensor.to(at::kFloat).contiguous();
    append(bytes, values.sizes().data(), dims);
    append(bytes, values.data_ptr<float>(), values.numel());
  }
  return bytes;
}

model::ModelOutputs unpacked(const std::string& bytes) {
  model::ModelOutputs outputs;
  const char* next = bytes.data();
  const auto take = [&](void* to, size_t size) {
    std::memcpy(to, next, size);
    next += size;
  };
  for (const auto field : kCollected) {
    int64_t dims = 0;
    take(&dims, sizeof dims);
    if (dims < 0) continue;
    std::vector<int64_t> shape(static_cast<size_t>(dims));
    take(shape.data(), shape.size() * sizeof(int64_t));
    at::Tensor tensor = at::empty(shape, at::kFloat);
    take(tensor.data_ptr(), tensor.nbytes());
    outputs.*field = tensor;
  }
  return outputs;
}

/// A float32 model in 64 bits, while this lives.
class InFloat64 {
 public:
  explicit InFloat64(model::PreTrainedModel& model) : model_(model) { model_.to(at::kDouble); }
  ~InFloat64() { model_.to(at::kFloat); }
  InFloat64(const InFloat64&) = delete;
  InFloat64& operator=(const InFloat64&) = delete;

 private:
  model::PreTrainedModel& model_;
};

}  // namespace

void run_over(model::PreTrainedModel& model, TaskData& data, int64_t batch_size, const ProgressSink& progress,
              Precision precision, ProcessGroup* group) {
  const bool by_length = has_fixed_ranges(model) && data.pads_right();
  std::vector<int64_t> order(static_cast<size_t>(data.size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (by_length)
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return data.length(a) > data.length(b); });
  model.eval();
  const at::NoGradGuard no_grad;
  const at::Device device = device_of(model);
  std::optional<nn::HalfAutocast> autocast;
  if (precision == Precision::kBf16) autocast.emplace(device);
  if (precision == Precision::kFp16) autocast.emplace(device, at::kHalf);
  std::optional<InFloat64> widened;
  if (precision == Precision::kFloat64) widened.emplace(model);
  data.begin_evaluation(/*padded=*/!by_length);
  const std::vector<EvaluationBatch> batches = batches_of(data, order, batch_size, by_length);
  const size_t ranks = group ? static_cast<size_t>(group->size()) : 1;
  const size_t me = group ? static_cast<size_t>(group->rank()) : 0;
  const auto inputs_for = [&](size_t round) -> std::optional<model::ModelInputs> {
    if (round + me >= batches.size()) return std::nullopt;
    const EvaluationBatch& mine = batches[round + me];
    return to_device(data.inputs(mine.samples, mine.width), device);
  };
  int64_t done = 0;
  std::optional<model::ModelInputs> next = inputs_for(0);
  for (size_t round = 0; round < batches.size(); round += ranks) {
    model::ModelOutputs own;
    if (next) {
      model::ForwardOptions options;
      options.use_cache = false;
      const model::ModelInputs now = *std::move(next);
      own = with_memory_for("evaluation", device, now, [&] {
        model::ModelOutputs outputs = model.forward(now, options);
        next = inputs_for(round + ranks);  // while a GPU works
        return to_host(std::move(outputs));
      });
    }
    const std::vector<std::string> everybodys =
        group ? group->gather(packed(own)) : std::vector<std::string>(1);
    for (size_t rank = 0; rank < ranks && round + rank < batches.size(); ++rank) {
      const std::span<const int64_t> samples = batches[round + rank].samples;
      data.collect(samples, group ? unpacked(everybodys[rank]) : own);
      done += static_cast<int64_t>(samples.size());
    }
    if (progress) progress("evaluating", done, data.size());
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
  return round_up(columns, multiple);
}

}  // namespace qdqbert::train
