#include "tests/onnx/golden_bert.h"

#include "qdqbert/base/error.h"

namespace qdqbert::testing {

namespace {

using onnx::ActivationGraph;
using onnx::GraphHead;
using onnx::GraphPositions;

template <class Value>
Value look_up(const std::map<std::string, Value>& table, const std::string& name) {
  const auto found = table.find(name);
  if (found == table.end()) fail("[test] {} is not known", name);
  return found->second;
}

const std::map<std::string, GraphHead> kHeads = {
    {"QDQBertModel", GraphHead::kBase},
    {"QDQBertForQuestionAnswering", GraphHead::kQuestionAnswering},
    {"QDQBertForSequenceClassification", GraphHead::kSequenceClassification},
    {"QDQBertForTokenClassification", GraphHead::kTokenClassification},
    {"QDQBertForMultipleChoice", GraphHead::kMultipleChoice},
    {"QDQBertForNextSentencePrediction", GraphHead::kNextSentence},
    {"QDQBertForMaskedLM", GraphHead::kLanguageModel},
    {"QDQBertLMHeadModel", GraphHead::kLanguageModel},
};

const std::map<std::string, ActivationGraph> kActivations = {
    {"gelu", ActivationGraph::kGelu},
    {"gelu_python", ActivationGraph::kGelu},
    {"gelu_10", ActivationGraph::kGelu10},
    {"gelu_accurate", ActivationGraph::kGeluTanh},
    {"gelu_new", ActivationGraph::kGeluTanh},
    {"gelu_pytorch_tanh", ActivationGraph::kGeluTanh},
    {"gelu_fast", ActivationGraph::kGeluFast},
    {"laplace", ActivationGraph::kLaplace},
    {"leaky_relu", ActivationGraph::kLeakyRelu},
    {"linear", ActivationGraph::kLinear},
    {"mish", ActivationGraph::kMish},
    {"quick_gelu", ActivationGraph::kQuickGelu},
    {"relu", ActivationGraph::kRelu},
    {"relu2", ActivationGraph::kRelu2},
    {"relu6", ActivationGraph::kRelu6},
    {"sigmoid", ActivationGraph::kSigmoid},
    {"silu", ActivationGraph::kSilu},
    {"swish", ActivationGraph::kSilu},
    {"tanh", ActivationGraph::kTanh},
};

const std::map<std::string, GraphPositions> kPositions = {
    {"absolute", GraphPositions::kAbsolute},
    {"relative_key", GraphPositions::kRelativeKey},
    {"relative_key_query", GraphPositions::kRelativeKeyQuery},
};

}  // namespace

GoldenBert::GoldenBert(const std::filesystem::path& directory, const Json& description, const Json& run)
    : config_(io::read_config(directory / "config.json")),
      weights_(
          io::SafetensorsFile::open(directory / description.value("weights_file", "weights.safetensors"))),
      class_name_(description.at("class").get<std::string>()) {
  expressible_ = !run.contains("changes_weights");
  std::optional<io::SafetensorsFile> amax;
  if (run.at("amax_file").is_string())
    amax = io::SafetensorsFile::open(directory / run.at("amax_file").get<std::string>());
  for (const Json& row : run.at("quantizers")) {
    onnx::QuantizerRange& range = ranges_[row[0].get<std::string>()];
    range.enabled = row[1].get<bool>();
    range.num_bits = row[2].get<int>();
    if (!range.enabled) continue;
    const TensorView* found = amax ? amax->find(row[0].get<std::string>() + "._amax") : nullptr;
    if (!found || range.num_bits != 8) {
      expressible_ = false;
      continue;
    }
    range.amax = to_float32(*found);
    range.per_channel = !found->shape.empty();
  }
}

std::optional<onnx::BertSource> GoldenBert::source() const {
  if (!expressible_) return std::nullopt;
  onnx::BertSource source;
  source.head = look_up(kHeads, class_name_);
  source.base_prefix = source.head == GraphHead::kBase ? "" : "bert.";
  source.has_pooler = weights_.find(source.base_prefix + "pooler.dense.weight") != nullptr;
  source.layers = config_.num_hidden_layers;
  source.hidden_size = config_.hidden_size;
  source.head_size = config_.head_size();
  source.max_positions = config_.max_position_embeddings;
  source.layer_norm_eps = config_.layer_norm_eps;
  source.activation = look_up(kActivations, std::string(io::name_of(config_.hidden_act)));
  source.positions = look_up(kPositions, config_.position_embedding_type.value_or("absolute"));
  source.is_decoder = config_.is_decoder;
  source.cross_attention = config_.add_cross_attention;
  source.tied_decoder = config_.tie_word_embeddings;
  source.weight = [this](const std::string& key) { return weights_.at(key); };
  source.quantizer = [this](const std::string& path) {
    const auto found = ranges_.find(path);
    return found == ranges_.end() ? onnx::QuantizerRange{} : found->second;
  };
  return source;
}

}  // namespace qdqbert::testing
