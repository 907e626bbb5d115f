#include "tests/onnx/shipped_model.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "qdqbert/base/error.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/nn/state_dict.h"
#include "qdqbert/text/tokenizer.h"

namespace qdqbert::testing {
namespace {

namespace fs = std::filesystem;

fs::path directory() {
  return fs::path(QDQBERT_SOURCE_DIR) / "models" / "minilm-l6-squad";
}

}  // namespace

std::shared_ptr<model::PreTrainedModel> shipped_model(const std::string& method) {
  const auto model = model::load_model("QDQBertForQuestionAnswering", directory()).model;
  const Json ranges =
      method.empty() ? Json::object() : read_json(directory() / "reference-amax.json").at(method);
  const at::NoGradGuard no_grad;
  for (const model::NamedLinear& item : model->named_quant_linears()) {
    nn::TensorQuantizer& quantizer = item.linear->weight_quantizer();
    quantizer.set_amax(quantizer.amax_for(item.linear->weight));
  }
  for (const model::NamedQuantizer& item : model->named_quantizers()) {
    if (method.empty()) item.quantizer->disable();
    if (item.quantizer->has_amax() || method.empty()) continue;
    if (!ranges.contains(item.name)) fail("[test] no reference range for {}", item.name);
    item.quantizer->set_amax(ranges[item.name].get<double>());
  }
  return model;
}

void reorder_features(model::PreTrainedModel& model) {
  const at::NoGradGuard no_grad;
  std::mt19937 engine(3);
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
  for (const nn::NamedTensor& item : nn::state_dict(model)) {
    at::Tensor tensor = item.tensor;
    const auto pick = [&](int64_t dimension, const at::Tensor& order) {
      tensor.copy_(tensor.index_select(dimension, order).clone());
    };
    const std::string& name = item.name;
    if (contains(name, "_input_quantizer") || contains(name, "position_ids")) continue;
    const bool vector = tensor.dim() == 1, range = contains(name, "_amax");
    if (contains(name, "self.query") || contains(name, "self.key")) pick(0, scores);
    if (contains(name, "self.value")) pick(0, values);
    if (contains(name, "attention.output.dense.weight") && !range) pick(1, values);
    if (contains(name, "LayerNorm")) {
      pick(0, hidden);
    } else if (contains(name, "embeddings.") || contains(name, "qa_outputs.weight")) {
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

ShippedQuestions shipped_questions(size_t questions) {
  ShippedQuestions shipped;
  shipped.examples = tasks::read_squad(directory() / "dev-1000.json.gz");
  shipped.examples.resize(std::min(questions, shipped.examples.size()));
  tasks::FeatureOptions options;
  options.labels = false;
  shipped.features =
      tasks::SquadFeatures::build(shipped.examples, text::Tokenizer::from_directory(directory()), options);
  return shipped;
}

model::ModelInputs batch_of(const tasks::SquadFeatures& features, const std::vector<size_t>& which) {
  size_t width = 0;
  for (size_t i : which) width = std::max<size_t>(width, features[i].length);
  const std::vector<int64_t> shape = {static_cast<int64_t>(which.size()), static_cast<int64_t>(width)};
  model::ModelInputs inputs;
  for (at::Tensor* tensor : {&inputs.input_ids, &inputs.attention_mask, &inputs.token_type_ids})
    *tensor = at::zeros(shape, at::kLong);
  for (size_t row = 0; row < which.size(); ++row) {
    const auto span = [&](at::Tensor& tensor) {
      return std::span(tensor.data_ptr<int64_t>() + row * width, width);
    };
    features.fill(which[row], span(inputs.input_ids), span(inputs.attention_mask),
                  span(inputs.token_type_ids));
  }
  return inputs;
}

}  // namespace qdqbert::testing
