#include "qdqbert/model/onnx_export.h"

#include <map>
#include <unordered_map>

#include <ATen/CPUGeneratorImpl.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/nn/state_dict.h"
#include "qdqbert/onnx/checker.h"
#include "qdqbert/onnx/summary.h"
#include "qdqbert/onnx/writer.h"

namespace qdqbert::model {
namespace {

onnx::ActivationGraph graph_of(io::Activation activation) {
  using enum io::Activation;
  using Graph = onnx::ActivationGraph;
  switch (activation) {
    case kGelu:
    case kGeluPython:
      return Graph::kGelu;
    case kGelu10:
      return Graph::kGelu10;
    case kGeluAccurate:
    case kGeluNew:
    case kGeluPytorchTanh:
      return Graph::kGeluTanh;
    case kGeluFast:
      return Graph::kGeluFast;
    case kLaplace:
      return Graph::kLaplace;
    case kLeakyRelu:
      return Graph::kLeakyRelu;
    case kLinear:
      return Graph::kLinear;
    case kMish:
      return Graph::kMish;
    case kQuickGelu:
      return Graph::kQuickGelu;
    case kRelu:
      return Graph::kRelu;
    case kRelu2:
      return Graph::kRelu2;
    case kRelu6:
      return Graph::kRelu6;
    case kSigmoid:
      return Graph::kSigmoid;
    case kSilu:
    case kSwish:
      return Graph::kSilu;
    case kTanh:
      return Graph::kTanh;
  }
  return Graph::kLinear;
}

onnx::GraphPositions graph_of(io::PositionEmbedding positions) {
  switch (positions) {
    case io::PositionEmbedding::kAbsolute:
      return onnx::GraphPositions::kAbsolute;
    case io::PositionEmbedding::kRelativeKey:
      return onnx::GraphPositions::kRelativeKey;
    case io::PositionEmbedding::kRelativeKeyQuery:
      return onnx::GraphPositions::kRelativeKeyQuery;
    case io::PositionEmbedding::kNone:
      return onnx::GraphPositions::kNone;
  }
  return onnx::GraphPositions::kNone;
}

onnx::GraphHead head_of(const std::string& class_name) {
  static const std::map<std::string, onnx::GraphHead> heads = {
      {"QDQBertModel", onnx::GraphHead::kBase},
      {"QDQBertForQuestionAnswering", onnx::GraphHead::kQuestionAnswering},
      {"QDQBertForSequenceClassification", onnx::GraphHead::kSequenceClassification},
      {"QDQBertForTokenClassification", onnx::GraphHead::kTokenClassification},
      {"QDQBertForMultipleChoice", onnx::GraphHead::kMultipleChoice},
      {"QDQBertForNextSentencePrediction", onnx::GraphHead::kNextSentence},
      {"QDQBertForMaskedLM", onnx::GraphHead::kLanguageModel},
      {"QDQBertLMHeadModel", onnx::GraphHead::kLanguageModel},
  };
  const auto found = heads.find(class_name);
  if (found == heads.end()) fail("[onnx export] models of class {} are not exported", class_name);
  return found->second;
}

bool quantizes(const nn::TensorQuantizer& quantizer) {
  return !quantizer.disabled() && quantizer.if_quant();
}

void require_numbers(const at::Tensor& tensor, const std::string& name) {
  if (!at::isfinite(tensor).all().item<bool>())
    fail("[onnx export] {} holds values that are no finite numbers; a model that has them is not exported",
         name);
}

/// Float32 tensors on the CPU by state-dict key.
class Weights {
 public:
  explicit Weights(const torch::nn::Module& model) {
    for (const nn::NamedTensor& item : nn::state_dict(model)) tensors_[item.name] = item.tensor;
  }

  TensorView at(const std::string& key) {
    const auto found = tensors_.find(key);
    if (found == tensors_.end()) fail("[onnx export] the model has no parameter {}", key);
    at::Tensor& tensor = found->second;
    tensor = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
    require_numbers(tensor, key);
    const auto* bytes = static_cast<const std::byte*>(tensor.data_ptr());
    return {DType::kF32, Shape(tensor.sizes().vec()), {bytes, static_cast<size_t>(tensor.nbytes())}};
  }

 private:
  std::unordered_map<std::string, at::Tensor> tensors_;
};

/// Ranges of all quantizers that quantize; those without one take it from the weight or from `sample`.
class Ranges {
 public:
  Ranges(PreTrainedModel& model, const ModelInputs* sample, std::vector<std::string>& from_sample) {
    std::map<std::string, nn::TensorQuantizer*> unset;
    for (const NamedQuantizer& item : model.named_quantizers()) {
      onnx::QuantizerRange& range = ranges_[item.name];
      range.enabled = quantizes(*item.quantizer);
      range.num_bits = item.quantizer->num_bits();
      range.is_unsigned = item.quantizer->is_unsigned();
      range.narrow_range = item.quantizer->narrow_range();
      if (!range.enabled) continue;
      if (item.quantizer->has_amax()) {
        set(item.name, item.quantizer->amax_for(item.quantizer->amax()));
      } else if (!item.name.ends_with("_weight_quantizer")) {
        unset[item.name] = item.quantizer.get();
      }
    }
    for (const NamedLinear& item : model.named_quant_linears()) {
      nn::TensorQuantizer& quantizer = item.linear->weight_quantizer();
      if (quantizes(quantizer) && !quantizer.has_amax())
        set(item.name + "._weight_quantizer", quantizer.amax_for(item.linear->weight.detach()));
    }
    if (unset.empty() || sample == nullptr) return;  // the graph writer names the first one
    ForwardOptions options;
    options.arithmetic = quant::Arithmetic::kAffine;
    options.tap = [&](const std::string& name, const at::Tensor& x) {
      const auto found = unset.find(name);
      if (found == unset.end()) return;
      set(name, found->second->amax_for(x));
      from_sample.push_back(name);
    };
    const at::NoGradGuard no_grad;
    const bool was_training = model.is_training();
    model.eval();
    model.forward(*sample, options);
    model.train(was_training);
  }

  onnx::QuantizerRange at(const std::string& path) const {
    const auto found = ranges_.find(path);
    return found == ranges_.end() ? onnx::QuantizerRange{} : found->second;
  }

 private:
  void set(const std::string& name, const at::Tensor& amax) {
    const at::Tensor values = amax.detach().to(at::kCPU, at::kFloat).contiguous();
    // A weight's ranges are [out, 1]: one for each row.
    if (values.dim() > 0 && values.size(0) != values.numel())
      fail("[onnx export] {} has ranges of shape {}; one for each output, or one in all, can be exported",
           name, to_string(Shape(values.sizes().vec())));
    require_numbers(values, name + "._amax");
    onnx::QuantizerRange& range = ranges_[name];
    range.per_channel = values.dim() > 0;
    range.amax.assign(values.data_ptr<float>(), values.data_ptr<float>() + values.numel());
  }

  std::unordered_map<std::string, onnx::QuantizerRange> ranges_;
};

}  // namespace

onnx::Model to_onnx(PreTrainedModel& model, const OnnxExportOptions& options, const ModelInputs* sample,
                    OnnxExportReport* report) {
  const io::BertConfig& config = model.config();
  onnx::BertSource source;
  source.head = head_of(model.class_name());
  source.base_prefix = model.base_prefix();
  source.has_pooler = model.base().pooler != nullptr;
  source.layers = static_cast<int64_t>(model.base().encoder->layers.size());
  source.hidden_size = config.hidden_size;
  source.head_size = config.head_size();
  source.max_positions = config.max_position_embeddings;
  source.layer_norm_eps = config.layer_norm_eps;
  source.activation = graph_of(config.hidden_act);
  source.positions = graph_of(config.position_embedding());
  source.is_decoder = config.is_decoder;
  source.cross_attention = config.add_cross_attention;
  for (const auto& [second, first] : model.tied_names())
    if (second.ends_with("decoder.weight")) source.tied_decoder = true;

  Weights weights(model);
  std::vector<std::string> from_sample;
  const Ranges ranges(model, sample, from_sample);
  if (!from_sample.empty())
    log_warning(
        "[onnx export] {} quantizers have no range (first: {}); the file fixes those of the sample batch. "
        "Calibrate the model to get ranges that fit other texts",
        from_sample.size(), from_sample.front());
  source.weight = [&](const std::string& key) { return weights.at(key); };
  source.quantizer = [&](const std::string& path) { return ranges.at(path); };
  onnx::Model graph =
      onnx::build_bert_graph(source, {options.opset, options.int8_weights, options.trt_attention,
                                      options.cache, options.hidden_states, options.pooler_output});
  if (report != nullptr) report->ranges_from_sample = std::move(from_sample);
  return graph;
}

OnnxExportReport export_onnx(PreTrainedModel& model, const std::filesystem::path& file,
                             const OnnxExportOptions& options, const ModelInputs* sample) {
  OnnxExportReport report;
  const onnx::Model graph = to_onnx(model, options, sample, &report);
  report.checked = onnx::check_model(graph);
  report.lint = onnx::lint(graph);
  onnx::require_no_orphan(report.lint);
  report.nodes = onnx::summarize(graph).nodes;
  report.files = onnx::write_model(graph, file, {options.int8_weights ? 0 : options.external_data_threshold});
  return report;
}

std::vector<std::string> set_ranges_from_sample(PreTrainedModel& model, const ModelInputs& sample) {
  std::vector<std::string> names;
  const Ranges ranges(model, &sample, names);
  const at::NoGradGuard no_grad;
  names.clear();
  for (const NamedQuantizer& item : model.named_quantizers()) {
    const onnx::QuantizerRange range = ranges.at(item.name);
    if (range.amax.empty() || item.quantizer->has_amax()) continue;
    const at::Tensor amax = at::tensor(range.amax);
    item.quantizer->replace_amax(range.per_channel ? amax.unsqueeze(1) : amax.squeeze());
    names.push_back(item.name);
  }
  return names;
}

ModelInputs random_batch(const PreTrainedModel& model, int64_t batch, int64_t length, uint64_t seed) {
  const io::BertConfig& config = model.config();
  std::vector<int64_t> shape = {batch, length};
  if (head_of(model.class_name()) == onnx::GraphHead::kMultipleChoice) shape.insert(shape.begin() + 1, 2);
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  ModelInputs inputs;
  inputs.input_ids = at::randint(config.vocab_size, shape, generator, at::kLong);
  inputs.attention_mask = at::ones(shape, at::kLong);
  inputs.token_type_ids = at::zeros(shape, at::kLong);
  if (config.add_cross_attention) {
    inputs.encoder_hidden_states = at::randn({batch, length, config.hidden_size}, generator, at::kFloat);
    inputs.encoder_attention_mask = at::ones({batch, length}, at::kLong);
  }
  if (config.type_vocab_size > 1) inputs.token_type_ids.narrow(-1, length / 2, length - length / 2).fill_(1);
  return inputs;
}

}  // namespace qdqbert::model
