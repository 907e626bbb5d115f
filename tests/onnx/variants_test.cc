// Writes one file for each variant of the export, with inputs and our own model's outputs beside it, for
// tests/peer/run_variants.py. Float models cover what the graph computes; quantized ones must be equal to
// each other bit for bit, since variants of one model quantize to the same codes.
#include <cstring>
#include <filesystem>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/model/heads.h"
#include "qdqbert/model/onnx_export.h"
#include "qdqbert/onnx/checker.h"

namespace qdqbert::model {
namespace {

namespace fs = std::filesystem;

fs::path folder() {
  return fs::path(QDQBERT_BINARY_DIR) / "peer-files" / "variants";
}

io::BertConfig small_config() {
  io::BertConfig config;
  config.vocab_size = 90;
  config.hidden_size = 64;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;  // heads of 16: sqrt(16) is a power of two
  config.intermediate_size = 96;
  config.max_position_embeddings = 40;
  config.initializer_range = 0.2;
  return config;
}

class TensorFile {
 public:
  void add(const std::string& name, const at::Tensor& tensor) {
    kept_.push_back(tensor.contiguous());
    const auto* bytes = static_cast<const std::byte*>(kept_.back().data_ptr());
    tensors_.push_back({name,
                        {tensor.scalar_type() == at::kLong ? DType::kI64 : DType::kF32,
                         Shape(tensor.sizes().vec()),
                         {bytes, static_cast<size_t>(tensor.nbytes())}}});
  }
  void write(const fs::path& path) const { io::write_safetensors(path, tensors_); }

 private:
  std::vector<at::Tensor> kept_;
  std::vector<io::NamedTensor> tensors_;
};

/// Two batches of other sizes, with padding.
std::vector<ModelInputs> calls_for(const PreTrainedModel& model) {
  std::vector<ModelInputs> calls = {random_batch(model, 1, 7, 1), random_batch(model, 3, 12, 2)};
  calls[1].attention_mask.select(0, 1).narrow(-1, 8, 4).zero_();
  return calls;
}

/// Keys and values under the names of the files.
void add_cache(TensorFile& file, const std::string& prefix, const PastKeyValues& caches) {
  constexpr const char* kAlone[] = {".key", ".value"};
  constexpr const char* kCrossing[] = {".decoder.key", ".decoder.value", ".encoder.key", ".encoder.value"};
  for (size_t layer = 0; layer < caches.size(); ++layer)
    for (size_t part = 0; part < caches[layer].size(); ++part)
      file.add(prefix + std::to_string(layer) + (caches[layer].size() == 2 ? kAlone : kCrossing)[part],
               caches[layer][part]);
}

void add_inputs(TensorFile& file, const std::string& call, const ModelInputs& inputs) {
  const std::pair<const char*, at::Tensor> fields[] = {
      {"input_ids", inputs.input_ids},
      {"attention_mask", inputs.attention_mask},
      {"token_type_ids", inputs.token_type_ids},
      {"encoder_attention_mask", inputs.encoder_attention_mask},
      // With a past the file reads what the past has of them.
      {"encoder_hidden_states",
       inputs.past_key_values.empty() ? inputs.encoder_hidden_states : at::Tensor()}};
  for (const auto& [name, tensor] : fields)
    if (tensor.defined()) file.add(call + ".input." + name, tensor);
  add_cache(file, call + ".input.past_key_values.", inputs.past_key_values);
}

void add_outputs(TensorFile& file, const std::string& call, const ModelOutputs& outputs) {
  const std::pair<const char*, at::Tensor> fields[] = {{"logits", outputs.logits},
                                                       {"output_start_logits", outputs.start_logits},
                                                       {"output_end_logits", outputs.end_logits},
                                                       {"last_hidden_state", outputs.last_hidden_state},
                                                       {"pooler_output", outputs.pooler_output}};
  for (const auto& [name, tensor] : fields)
    if (tensor.defined()) file.add(call + ".output." + name, tensor);
  add_cache(file, call + ".output.present.", outputs.past_key_values);
}

/// `same_as`: the variant whose outputs must be equal bit for bit; "" compares with LibTorch.
void write_variant(const std::string& name, PreTrainedModel& model, const OnnxExportOptions& options,
                   double tolerance, const std::string& same_as, const std::vector<ModelInputs>& calls) {
  SCOPED_TRACE(name);
  const fs::path directory = folder() / name;
  fs::create_directories(directory);
  const OnnxExportReport report = export_onnx(model, directory / "model.onnx", options);
  EXPECT_EQ(report.checked, options.opset <= onnx::newest_checked_opset());
  TensorFile file;
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string call = "call" + std::to_string(i);
    add_inputs(file, call, calls[i]);
    ForwardOptions forward;
    forward.arithmetic = quant::Arithmetic::kAffine;
    forward.use_cache = options.cache != onnx::GraphCache::kNone;
    add_outputs(file, call, model.forward(calls[i], forward));
  }
  file.write(directory / "io.safetensors");
  write_file(directory / "variant.json",
             dump_json(Json{{"tolerance", tolerance}, {"same_as", same_as}, {"opset", options.opset}}));
}

void write_variant(const std::string& name, PreTrainedModel& model, const OnnxExportOptions& options,
                   double tolerance, const std::string& same_as = "") {
  write_variant(name, model, options, tolerance, same_as, calls_for(model));
}

std::shared_ptr<PreTrainedModel> float_model(std::string_view class_name, const io::BertConfig& config) {
  auto model = make_model(class_name, config);
  model->init_weights(3);
  for (const NamedQuantizer& item : model->named_quantizers()) item.quantizer->disable();
  return model;
}

// Float32 sums of two libraries: errors of a few 1e-7 relative, outputs up to about 10.
constexpr double kFloat = 2e-5;

TEST(OnnxVariants, Classes) {
  fs::remove_all(folder());
  for (const HeadSpec& spec : head_specs()) {
    const auto model = float_model(spec.class_name, small_config());
    write_variant(std::string("class-") + std::string(spec.class_name), *model, {}, kFloat);
  }
  io::BertConfig untied = small_config();
  untied.tie_word_embeddings = false;
  write_variant("class-untied", *float_model("QDQBertForMaskedLM", untied), {}, kFloat);
}

TEST(OnnxVariants, Activations) {
  for (const char* name : {"gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python",
                           "gelu_pytorch_tanh", "laplace", "leaky_relu", "linear", "mish", "quick_gelu",
                           "relu", "relu2", "relu6", "sigmoid", "silu", "swish", "tanh"}) {
    io::BertConfig config = small_config();
    config.hidden_act = io::activation_of(name).value();
    write_variant(std::string("activation-") + name, *float_model("QDQBertForQuestionAnswering", config), {},
                  kFloat);
  }
}

TEST(OnnxVariants, PositionsAndPruning) {
  for (const char* name : {"relative_key", "relative_key_query", "none at all"}) {
    io::BertConfig config = small_config();
    config.position_embedding_type = name;
    const auto model = float_model("QDQBertForQuestionAnswering", config);
    write_variant(std::string("positions-") + name, *model, {}, kFloat);
    write_variant(std::string("positions-trt-") + name, *model, {13, false, true}, kFloat);
  }
  const auto model = float_model("QDQBertForQuestionAnswering", small_config());
  model->prune_heads({{0, {1, 2}}, {1, {0}}});
  write_variant("pruned", *model, {}, kFloat);
}

// Distances count from the first token of the text, in the past too, and to the tokens of another text.
TEST(OnnxVariants, RelativePositionsOfDecoders) {
  for (const char* positions : {"relative_key", "relative_key_query"})
    for (const bool crosses : {false, true}) {
      io::BertConfig config = small_config();
      config.is_decoder = true;
      config.add_cross_attention = crosses;
      config.position_embedding_type = positions;
      const auto model = float_model("QDQBertLMHeadModel", config);
      ModelInputs whole = random_batch(*model, 2, 9, 3);
      whole.attention_mask.select(0, 1).narrow(-1, 0, 2).zero_();
      if (crosses) {
        whole.encoder_hidden_states = at::randn({2, 13, config.hidden_size});
        whole.encoder_attention_mask = at::ones({2, 13}, at::kLong);
      }
      ModelInputs begin = whole, rest = whole;
      begin.input_ids = whole.input_ids.narrow(1, 0, 5);
      begin.attention_mask = whole.attention_mask.narrow(1, 0, 5);
      begin.token_type_ids = whole.token_type_ids.narrow(1, 0, 5);
      rest.input_ids = whole.input_ids.narrow(1, 5, 4);
      rest.token_type_ids = whole.token_type_ids.narrow(1, 5, 4);
      {
        const at::NoGradGuard no_grad;
        ForwardOptions keep;
        keep.use_cache = true;
        rest.past_key_values = model->forward(begin, keep).past_key_values;
      }
      const std::string name = std::string("decoder-") + positions + (crosses ? "-crossing" : "");
      OnnxExportOptions options;
      options.cache = onnx::GraphCache::kPresent;
      write_variant(name, *model, options, kFloat, "", {whole});
      options.cache = onnx::GraphCache::kPast;
      write_variant(name + "-past", *model, options, kFloat, "", {rest});
    }
}

TEST(OnnxVariants, Opsets) {
  const auto model = float_model("QDQBertForQuestionAnswering", small_config());
  for (int opset : {13, 14, 15, 16, 17})
    write_variant("opset-" + std::to_string(opset), *model, {opset}, kFloat);
  // Half precision: some 30 roundings of 2^-11 relative on the way to outputs of about 3, added up.
  write_variant("opset-19", *model, {19}, 30 * 3.0 / 2048);
}

TEST(OnnxVariants, Quantized) {
  const auto model = make_model("QDQBertForQuestionAnswering", small_config());
  model->init_weights(5);
  set_ranges_from_sample(*model, random_batch(*model, 4, 20, 6));
  // Against LibTorch a code at a rounding tie may differ; the bit-equal variants below need no tolerance.
  write_variant("quantized", *model, {}, 0.05);
  write_variant("quantized-int8", *model, {13, true}, 0, "quantized");
  write_variant("quantized-trt", *model, {13, false, true}, 0, "quantized");
  OnnxExportOptions external;
  external.external_data_threshold = 0;
  write_variant("quantized-external", *model, external, 0, "quantized");
  EXPECT_TRUE(fs::exists(folder() / "quantized-int8" / "model.onnx.data"));
  EXPECT_TRUE(fs::exists(folder() / "quantized-external" / "model.onnx.data"));
  EXPECT_FALSE(fs::exists(folder() / "quantized" / "model.onnx.data"));
  for (int opset : {14, 15, 16})
    write_variant("quantized-opset-" + std::to_string(opset), *model, {opset}, 0, "quantized");
  write_variant("quantized-opset-17", *model, {17}, 0.05);
  // Half precision moves many values over a tie; each of them by one step of 1/127 of its range.
  write_variant("quantized-opset-19", *model, {19}, 0.5);
}

TEST(OnnxVariants, Refusals) {
  const auto model = make_model("QDQBertForQuestionAnswering", small_config());
  model->init_weights(5);
  EXPECT_THROW(to_onnx(*model), InputError) << "no ranges and no sample";
  const ModelInputs sample = random_batch(*model, 2, 8, 1);
  OnnxExportReport report;
  to_onnx(*model, {}, &sample, &report);
  EXPECT_EQ(report.ranges_from_sample.size(), 28u);
}

}  // namespace
}  // namespace qdqbert::model
