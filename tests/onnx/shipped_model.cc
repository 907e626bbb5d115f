#include "tests/onnx/shipped_model.h"

#include <algorithm>

#include "qdqbert/base/error.h"
#include "qdqbert/model/load_weights.h"
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
