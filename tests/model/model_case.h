// Golden model cases: the calls, their inputs, and outputs by their recorded names.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <ATen/ATen.h>

#include "qdqbert/base/json.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/model/heads.h"
#include "qdqbert/model/load_weights.h"

#include "tests/nn/torch_golden.h"

namespace qdqbert::testing {

/// The member of `inputs` that a case calls by this name.
inline at::Tensor& input_of(model::ModelInputs& inputs, const std::string& name) {
  if (name == "input_ids") return inputs.input_ids;
  if (name == "attention_mask") return inputs.attention_mask;
  if (name == "token_type_ids") return inputs.token_type_ids;
  if (name == "position_ids") return inputs.position_ids;
  if (name == "head_mask") return inputs.head_mask;
  if (name == "inputs_embeds") return inputs.inputs_embeds;
  if (name == "encoder_hidden_states") return inputs.encoder_hidden_states;
  if (name == "encoder_attention_mask") return inputs.encoder_attention_mask;
  if (name == "labels") return inputs.labels;
  if (name == "start_positions") return inputs.start_positions;
  if (name == "end_positions") return inputs.end_positions;
  if (name == "next_sentence_label") return inputs.next_sentence_label;
  fail("[golden] a model input called {} is not known", name);
}

/// All tensors "<prefix><name>" of a file as inputs, on test_device().
inline model::ModelInputs inputs_of(const io::SafetensorsFile& file, const std::string& prefix) {
  model::ModelInputs inputs;
  for (const io::NamedTensor& item : file.tensors()) {
    if (item.name.starts_with(prefix))
      input_of(inputs, item.name.substr(prefix.size())) = placed(item.tensor);
  }
  return inputs;
}

/// "logits", "hidden_states.2", "past_key_values.0.1": undefined when there is no such output.
inline at::Tensor output_of(const model::ModelOutputs& outputs, const std::string& name) {
  const size_t dot = name.find('.');
  const std::string field = name.substr(0, dot);
  if (dot == std::string::npos) {
    if (field == "loss") return outputs.loss;
    if (field == "logits") return outputs.logits;
    if (field == "start_logits") return outputs.start_logits;
    if (field == "end_logits") return outputs.end_logits;
    if (field == "last_hidden_state") return outputs.last_hidden_state;
    if (field == "pooler_output") return outputs.pooler_output;
    return {};
  }
  const std::string rest = name.substr(dot + 1);
  const size_t second = rest.find('.');
  const size_t index = std::stoul(rest.substr(0, second));
  if (field == "past_key_values") {
    const size_t part = std::stoul(rest.substr(second + 1));
    const bool there = index < outputs.past_key_values.size() && part < outputs.past_key_values[index].size();
    return there ? outputs.past_key_values[index][part] : at::Tensor();
  }
  const std::vector<at::Tensor>& list = field == "hidden_states" ? outputs.hidden_states
                                        : field == "attentions"  ? outputs.attentions
                                                                 : outputs.cross_attentions;
  return index < list.size() ? list[index] : at::Tensor();
}

/// The value after `flag` in a command line, nullopt when the flag is absent.
inline std::optional<std::string> flag_value(const std::string& options, const std::string& flag) {
  const size_t at = options.find(flag + " ");
  if (at == std::string::npos) return std::nullopt;
  const size_t begin = at + flag.size() + 1;
  return options.substr(begin, options.find(' ', begin) - begin);
}

/// The descriptors that the example's build options stand for.
inline nn::QuantDefaults defaults_of(const std::string& options) {
  nn::QuantDefaults defaults;
  defaults.input.num_bits = std::stoi(flag_value(options, "--aprec").value_or("8"));
  defaults.weight.num_bits = std::stoi(flag_value(options, "--wprec").value_or("8"));
  if (flag_value(options, "--calibrator").value_or("max") != "max") {
    defaults.input.calib_method = quant::CalibMethod::kHistogram;
  }
  defaults.weight.axis = quant::Axis::tuple({0});
  if (options.find("--quant-per-tensor") != std::string::npos) defaults.weight.axis.reset();
  return defaults;
}

/// How the build options have ranges read off histograms.
/// Under `mse`, too: the original's takes the percentile.
inline quant::AmaxRequest request_of(const std::string& options) {
  quant::AmaxRequest request;
  request.method = quant::HistogramMethod::kPercentile;
  request.percentile = std::stod(flag_value(options, "--percentile").value_or("99.99"));
  return request;
}

inline void calibrate(model::PreTrainedModel& model, const io::SafetensorsFile& file,
                      const std::string& options) {
  for (const model::NamedQuantizer& item : model.named_quantizers()) {
    item.quantizer->disable_quant();
    item.quantizer->enable_calib();
  }
  const at::NoGradGuard no_grad;
  for (int batch = 0;; ++batch) {
    const model::ModelInputs inputs = inputs_of(file, "calib" + std::to_string(batch) + ".");
    if (!inputs.input_ids.defined() && !inputs.inputs_embeds.defined()) break;
    model.forward(inputs);
  }
  const quant::AmaxRequest histogram = request_of(options);
  for (const model::NamedQuantizer& item : model.named_quantizers()) {
    const bool by_maximum = item.quantizer->calibrator()->class_name() == "MaxCalibrator";
    item.quantizer->load_calib_amax(by_maximum ? quant::AmaxRequest{} : histogram);
    item.quantizer->enable_quant();
    item.quantizer->disable_calib();
  }
}

}  // namespace qdqbert::testing
