#include "tests/onnx/reorder_features.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "qdqbert/base/error.h"
#include "qdqbert/nn/state_dict.h"

namespace qdqbert::testing {

void reorder_features(model::PreTrainedModel& model, unsigned seed) {
  const at::NoGradGuard no_grad;
  std::mt19937 engine(seed);
  const auto shuffled = [&](int64_t count) {
    std::vector<int64_t> order(count);
    std::iota(order.begin(), order.end(), int64_t{0});
    std::shuffle(order.begin(), order.end(), engine);
    return at::tensor(order, at::kLong);
  };
  const at::Tensor hidden = shuffled(model.config().hidden_size);
  const at::Tensor wide = shuffled(model.config().intermediate_size);
  // Within heads: the same order for queries and keys, one for values and what reads them.
  const int64_t size = model.config().head_size();
  const at::Tensor starts = at::arange(0, model.config().hidden_size, size).unsqueeze(1);
  const at::Tensor scores = (starts + shuffled(size)).reshape({-1}),
                   values = (starts + shuffled(size)).reshape({-1});
  const auto contains = [](const std::string& name, const char* part) {
    return name.find(part) != std::string::npos;
  };
  const std::vector<nn::NamedTensor> tensors = nn::state_dict(model);
  const bool pooled = std::any_of(tensors.begin(), tensors.end(), [&](const nn::NamedTensor& item) {
    return contains(item.name, "pooler.");
  });
  for (const nn::NamedTensor& item : tensors) {
    at::Tensor tensor = item.tensor;
    const auto pick = [&](int64_t dimension, const at::Tensor& order) {
      tensor.copy_(tensor.index_select(dimension, order).clone());
    };
    const std::string& name = item.name;
    if (contains(name, "cls.")) fail("[reorder features] {} belongs to a language model", name);
    if (contains(name, "_input_quantizer") || contains(name, "position_ids")) continue;
    const bool vector = tensor.dim() == 1, range = contains(name, "_amax");
    if (contains(name, "self.query") || contains(name, "self.key")) pick(0, scores);
    if (contains(name, "self.value")) pick(0, values);
    if (contains(name, "attention.output.dense.weight") && !range) pick(1, values);
    if (contains(name, "LayerNorm")) {
      pick(0, hidden);
    } else if (contains(name, "embeddings.") || contains(name, "qa_outputs.weight") ||
               contains(name, "pooler.dense.weight") || (!pooled && contains(name, "classifier.weight"))) {
      pick(1, hidden);
    } else if (contains(name, ".self.") && !vector && !range) {
      pick(1, hidden);
    } else if (contains(name, "intermediate.dense")) {
      pick(0, wide);
      if (!vector && !range) pick(1, hidden);
    } else if (contains(name, "output.dense")) {
      pick(0, hidden);
      if (!vector && !range && !contains(name, "attention")) pick(1, wide);
    }
  }
}

}  // namespace qdqbert::testing
