// Calibration without the command: switch the input quantizers to collecting,
// run the model, load the ranges, quantize, export.
//   example_calibrate_by_hand MODEL_DIRECTORY FILE.onnx
#include <algorithm>
#include <cstdio>
#include <string>

#include "qdqbert/base/error.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/model/onnx_export.h"
#include "qdqbert/text/encoding.h"
#include "qdqbert/text/tokenizer.h"

namespace {

using namespace qdqbert;

at::Tensor row(const std::vector<int32_t>& values) {
  return at::tensor(std::vector<int64_t>(values.begin(), values.end())).unsqueeze(0);
}

/// The text between the best start and the best end.
std::string answer(model::PreTrainedModel& qa, const model::ModelInputs& inputs,
                   const text::Encoding& feature, const text::Tokenizer& tokenizer) {
  const model::ModelOutputs outputs = qa.forward(inputs);
  const auto start = static_cast<size_t>(outputs.start_logits.argmax().item<int64_t>());
  const auto end = static_cast<size_t>(outputs.end_logits.argmax().item<int64_t>());
  if (end < start) return "";
  return tokenizer.decode({feature.ids.begin() + static_cast<std::ptrdiff_t>(start),
                           feature.ids.begin() + static_cast<std::ptrdiff_t>(end) + 1},
                          true, true);
}

bool is_input_quantizer(const std::string& name) {
  const std::string tail = "_input_quantizer";
  return name.size() > tail.size() && name.compare(name.size() - tail.size(), tail.size(), tail) == 0;
}

int run(const std::string& directory, const std::string& file) {
  const text::Tokenizer tokenizer = text::Tokenizer::from_directory(directory);
  const text::Batch batch =
      text::encode(tokenizer, {"Who was Jim Henson?"}, {"Jim Henson was a nice puppet"}, {});
  const text::Encoding& feature = batch.features[0];
  model::ModelInputs inputs;
  inputs.input_ids = row(feature.ids);
  inputs.token_type_ids = row(feature.type_ids);
  inputs.attention_mask = row(feature.attention_mask);

  const auto [qa, report] = model::load_model("QDQBertForQuestionAnswering", directory);
  const at::NoGradGuard no_grad;
  for (const model::NamedQuantizer& item : qa->named_quantizers()) item.quantizer->disable();
  std::printf("In FP32: %s\n", answer(*qa, inputs, feature, tokenizer).c_str());

  for (const model::NamedQuantizer& item : qa->named_quantizers()) {
    if (!is_input_quantizer(item.name)) continue;
    item.quantizer->enable();
    item.quantizer->disable_quant();
    item.quantizer->enable_calib();
  }
  qa->forward(inputs);  // here: all the data you have
  for (const model::NamedQuantizer& item : qa->named_quantizers()) {
    item.quantizer->enable();
    if (!is_input_quantizer(item.name)) {  // weights: the maximum of each row
      item.quantizer->enable_calib();
      continue;
    }
    item.quantizer->load_calib_amax();
    item.quantizer->enable_quant();
    item.quantizer->disable_calib();
  }
  qa->forward(inputs);
  for (const model::NamedQuantizer& item : qa->named_quantizers()) {
    if (is_input_quantizer(item.name)) continue;
    item.quantizer->load_calib_amax();
    item.quantizer->disable_calib();
  }
  std::printf("With 8 bits: %s\n", answer(*qa, inputs, feature, tokenizer).c_str());

  const model::OnnxExportReport exported = model::export_onnx(*qa, file);
  std::printf("wrote %lld nodes to %s\n", static_cast<long long>(exported.nodes), file.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: example_calibrate_by_hand MODEL_DIRECTORY FILE.onnx\n");
    return 2;
  }
  try {
    return run(argv[1], argv[2]);
  } catch (const qdqbert::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
