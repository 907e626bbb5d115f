// Named uses and misuses of the model: what each gives, or that it is refused. The file describes them by
// name only, so this table says what each name stands for; sizes and results come from the file.
#include <gtest/gtest.h>

#include "qdqbert/model/generation.h"
#include "qdqbert/model/heads_classification.h"
#include "qdqbert/model/heads_lm.h"

#include "tests/model/model_case.h"
#include "tests/support/golden.h"

namespace qdqbert::model {
namespace {

using testing::golden_dir;
using testing::GoldenFamily;
using testing::GoldenSkip;

class Uses {
 public:
  Uses() {
    const Json errors = read_json(golden_dir() / "model/errors.json");
    batch_ = errors.at("B");
    length_ = errors.at("S");
    config_ = read_json(golden_dir() / "model/outputs_and_checkpoint_keys.json").at("config");
  }

  int64_t batch() const { return batch_; }
  int64_t length() const { return length_; }
  int64_t field(const char* name) const { return config_.at(name); }

  // A number of heads that does not divide the hidden size.
  int64_t awkward_heads() const {
    int64_t heads = 3;
    while (field("hidden_size") % heads == 0) ++heads;
    return heads;
  }

  std::shared_ptr<PreTrainedModel> make(const char* class_name = "QDQBertModel",
                                        const Json& changes = Json::object(), int64_t labels = 0) const {
    Json json = config_;
    for (const auto& [key, value] : changes.items()) json[key] = value;
    io::BertConfig config = io::parse_config(json, "golden");
    if (labels > 0) config.set_num_labels(labels);
    auto model = make_model(class_name, config);
    model->init_weights(3);
    return model;
  }

  at::Tensor ids(int64_t length = 0) const {
    return at::arange(batch_ * (length > 0 ? length : length_))
        .remainder(field("vocab_size") - 2)
        .add(2)
        .view({batch_, -1});
  }
  ModelInputs inputs(int64_t length = 0) const {
    ModelInputs inputs;
    inputs.input_ids = ids(length);
    return inputs;
  }
  at::Tensor states(int64_t length) const { return at::ones({batch_, length, field("hidden_size")}); }

 private:
  int64_t batch_, length_;
  Json config_;
};

Json shapes(const HeadSpec& spec, const ModelOutputs& outputs) {
  Json result = Json::object();
  for (const OutputField field : present_fields(spec, outputs, false)) {
    const at::Tensor tensor = testing::output_of(outputs, std::string(name_of(field)));
    if (tensor.defined()) result[std::string(name_of(field))] = tensor.sizes().vec();
  }
  return result;
}

Json forward(const std::shared_ptr<PreTrainedModel>& model, const ModelInputs& inputs) {
  const at::NoGradGuard no_grad;
  ForwardOptions options;
  options.original_relative_distances = true;
  return shapes(head_spec(model->class_name()), model->forward(inputs, options));
}

Json problem_types(const Uses& uses, int64_t labels, const at::Tensor& targets) {
  const auto model = uses.make("QDQBertForSequenceClassification", Json::object(), labels);
  const auto text = [&]() -> Json {
    if (!model->config().problem_type) return nullptr;
    switch (*model->config().problem_type) {
      case io::ProblemType::kRegression:
        return "regression";
      case io::ProblemType::kSingleLabel:
        return "single_label_classification";
      default:
        return "multi_label_classification";
    }
  };
  const Json before = text();
  ModelInputs inputs = uses.inputs();
  inputs.labels = targets;
  forward(model, inputs);
  return {before, text()};
}

Json resized(const Uses& uses, int64_t rows, int64_t multiple) {
  const auto model = std::dynamic_pointer_cast<QDQBertForMaskedLM>(uses.make("QDQBertForMaskedLM"));
  model->resize_token_embeddings(rows, multiple, 5);
  const Embedding& words = *model->bert->embeddings->word_embeddings;
  const PredictionHead& head = *model->predictions;
  return {{"rows", words.rows()},
          {"padding_idx", words.padding_row() ? Json(*words.padding_row()) : Json()},
          {"vocab_size", model->config().vocab_size},
          {"decoder", head.decoder->weight.sizes().vec()},
          {"decoder_bias", head.decoder->bias.sizes().vec()},
          {"cls.predictions.bias", head.bias.sizes().vec()},
          {"tied", head.decoder->weight.is_same(words.weight)},
          {"bias_is_linked", head.decoder->bias.is_same(head.bias)}};
}

Json causal_steps(const Uses& uses) {
  Json steps = Json::array();
  const auto model = uses.make("QDQBertLMHeadModel", {{"is_decoder", true}});
  const at::NoGradGuard no_grad;
  const PastKeyValues past = model->forward(uses.inputs()).past_key_values;
  const auto describe = [&](const ModelInputs& inputs) {
    steps.push_back({{"input_ids", inputs.input_ids.sizes().vec()},
                     {"attention_mask", inputs.attention_mask.sizes().vec()},
                     {"past_key_values", !inputs.past_key_values.empty()}});
  };
  describe(prepare_causal_inputs(uses.ids(), {}, {}));
  describe(prepare_causal_inputs(uses.ids(uses.length() + 1), {}, past));
  describe(prepare_causal_inputs(uses.ids(3), {}, past));
  return steps;
}

Json changed_by_second_calibration(const Uses& uses) {
  const auto model = uses.make();
  std::vector<at::Tensor> first;
  const at::NoGradGuard no_grad;
  for (int round = 0; round < 2; ++round) {
    for (const NamedQuantizer& item : model->named_quantizers()) {
      item.quantizer->calibrator()->reset();
      item.quantizer->disable_quant();
      item.quantizer->enable_calib();
    }
    ModelInputs inputs = uses.inputs();
    inputs.input_ids = inputs.input_ids.flip({1}).mul(round + 1).remainder(uses.field("vocab_size"));
    model->forward(inputs);
    for (const NamedQuantizer& item : model->named_quantizers()) {
      item.quantizer->load_calib_amax();
      if (round == 0) first.push_back(item.quantizer->amax().clone());
    }
  }
  int changed = 0;
  const auto quantizers = model->named_quantizers();
  for (size_t i = 0; i < first.size(); ++i) changed += !at::equal(first[i], quantizers[i].quantizer->amax());
  return changed;
}

using Use = std::function<Json(const Uses&, const Json& recorded)>;

template <class Make>
Use constructs(Make make) {
  return [make](const Uses& uses, const Json&) { return Json(make(uses)->class_name()); };
}

const std::map<std::string, Use>& table() {
  static const std::map<std::string, Use> uses = {
      {"input_ids and inputs_embeds",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.inputs_embeds = u.states(u.length());
         return forward(u.make(), inputs);
       }},
      {"neither input_ids nor inputs_embeds",
       [](const Uses& u, const Json&) { return forward(u.make(), {}); }},
      {"hidden_size not divisible", constructs([](const Uses& u) {
         return u.make("QDQBertModel", {{"num_attention_heads", u.awkward_heads()}});
       })},
      {"hidden_size not divisible, config has embedding_size: construction", constructs([](const Uses& u) {
         return u.make("QDQBertModel", {{"num_attention_heads", u.awkward_heads()},
                                        {"embedding_size", u.field("hidden_size")}});
       })},
      {"hidden_size not divisible, config has embedding_size: forward",
       [](const Uses& u, const Json&) {
         return forward(u.make("QDQBertModel", {{"num_attention_heads", u.awkward_heads()},
                                                {"embedding_size", u.field("hidden_size")}}),
                        u.inputs());
       }},
      {"encoder states given to an encoder are ignored",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.encoder_hidden_states = u.states(5);
         return forward(u.make(), inputs);
       }},
      {"hidden_act selu", constructs([](const Uses& u) {
         return u.make("QDQBertModel", {{"hidden_act", "selu"}});
       })},
      {"pad_token_id beyond the vocabulary", constructs([](const Uses& u) {
         return u.make("QDQBertModel", {{"pad_token_id", u.field("vocab_size")}});
       })},
      {"pad_token_id negative", constructs([](const Uses& u) {
         return u.make("QDQBertModel", {{"pad_token_id", -1}});
       })},
      {"pad_token_id None", constructs([](const Uses& u) {
         return u.make("QDQBertModel", {{"pad_token_id", nullptr}});
       })},
      {"problem_type nonsense", constructs([](const Uses& u) {
         return u.make("QDQBertModel", {{"problem_type", "nonsense"}});
       })},
      {"sequence longer than max_position_embeddings",
       [](const Uses& u, const Json&) {
         return forward(u.make(), u.inputs(u.field("max_position_embeddings") + 1));
       }},
      {"token id out of range",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.input_ids[0][0] = u.field("vocab_size");
         return forward(u.make(), inputs);
       }},
      {"token type out of range",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.token_type_ids = at::full_like(inputs.input_ids, u.field("type_vocab_size"));
         return forward(u.make(), inputs);
       }},
      {"attention mask of the wrong length",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.attention_mask = at::ones({u.batch(), u.length() + 1});
         return forward(u.make(), inputs);
       }},
      {"attention mask 4-D",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.attention_mask = at::ones({u.batch(), 1, u.length(), u.length()});
         return forward(u.make(), inputs);
       }},
      {"head_mask of the wrong length",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.head_mask = at::ones({u.field("num_attention_heads") - 1});
         return forward(u.make(), inputs);
       }},
      {"QA with num_labels 3",
       [](const Uses& u, const Json&) {
         return forward(u.make("QDQBertForQuestionAnswering", Json::object(), 3), u.inputs());
       }},
      {"QA start_positions only -> no loss",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.start_positions = at::zeros({u.batch()}, at::kLong);
         return forward(u.make("QDQBertForQuestionAnswering"), inputs);
       }},
      {"sequence classification, label out of range",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.labels = at::full({u.batch()}, 2, at::kLong);
         return forward(u.make("QDQBertForSequenceClassification"), inputs);
       }},
      {"sequence classification multi label with integer labels given problem_type",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.labels = at::ones({u.batch(), 2}, at::kLong);
         return forward(
             u.make("QDQBertForSequenceClassification", {{"problem_type", "multi_label_classification"}}),
             inputs);
       }},
      {"sequence classification regression with integer labels",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.labels = at::ones({u.batch()}, at::kLong);
         return forward(u.make("QDQBertForSequenceClassification", Json::object(), 1), inputs);
       }},
      {"problem_type before/after: num_labels 1, float labels",
       [](const Uses& u, const Json&) { return problem_types(u, 1, at::ones({u.batch()})); }},
      {"problem_type before/after: num_labels 3, int64 labels",
       [](const Uses& u, const Json&) { return problem_types(u, 3, at::ones({u.batch()}, at::kLong)); }},
      {"problem_type before/after: num_labels 3, float labels [B,3]",
       [](const Uses& u, const Json&) {
         return problem_types(u, 3, at::ones({u.batch(), 3}));
       }},
      {"relative_key with a cache and two new tokens",
       [](const Uses& u, const Json&) {
         const auto model =
             u.make("QDQBertModel", {{"is_decoder", true}, {"position_embedding_type", "relative_key"}});
         const at::NoGradGuard no_grad;
         ModelInputs inputs = u.inputs(2);
         inputs.past_key_values = model->forward(u.inputs()).past_key_values;
         return forward(model, inputs);
       }},
      {"relative_key cross-attention of another length",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.encoder_hidden_states = u.states(u.length() + 2);
         return forward(u.make("QDQBertModel", {{"is_decoder", true},
                                                {"add_cross_attention", true},
                                                {"position_embedding_type", "relative_key"}}),
                        inputs);
       }},
      {"position_embedding_type nonsense: no position information, no error",
       [](const Uses& u, const Json&) {
         return forward(u.make("QDQBertModel", {{"position_embedding_type", "nonsense"}}), u.inputs());
       }},
      {"calibrating twice with other data after reset: number of changed ranges (one layer)",
       [](const Uses& u, const Json&) { return changed_by_second_calibration(u); }},
      {"resize_token_embeddings to V+5",
       [](const Uses& u, const Json&) { return resized(u, u.field("vocab_size") + 5, 0); }},
      {"resize_token_embeddings to V-7",
       [](const Uses& u, const Json&) { return resized(u, u.field("vocab_size") - 7, 0); }},
      {"resize_token_embeddings(V, pad_to_multiple_of=8)",
       [](const Uses& u, const Json&) { return resized(u, u.field("vocab_size"), 8); }},
      {"resize_token_embeddings(128, pad_to_multiple_of=8)",
       [](const Uses& u, const Json&) { return resized(u, 128, 8); }},
      {"LMHead prepare_inputs_for_generation: no cache; cache with S+1 ids; cache with fewer ids than cached",
       [](const Uses& u, const Json& recorded) {
         Json steps = causal_steps(u);
         // The width of the mask given in the last call is not part of the name.
         steps.at(2)["attention_mask"] = recorded.at(2).at("attention_mask");
         return steps;
       }},
      {"MaskedLM prepare_inputs_for_generation: [shape, last id, last mask]",
       [](const Uses& u, const Json& recorded) {
         const ModelInputs inputs = prepare_masked_inputs(u.ids(), {}, recorded.at(1).get<int64_t>());
         return Json{inputs.input_ids.sizes().vec(), inputs.input_ids[0][-1].item<int64_t>(),
                     inputs.attention_mask[0][-1].item<int64_t>()};
       }},
      {"MaskedLM prepare_inputs_for_generation without pad id",
       [](const Uses& u, const Json&) {
         return Json(prepare_masked_inputs(u.ids(), {}, std::nullopt).input_ids.size(1));
       }},
  };
  return uses;
}

// In these the original constructs something only to complain about it in an assertion, whose text is the
// result.
const std::map<std::string, Use>& refusals() {
  static const std::map<std::string, Use> uses = {
      {"add_cross_attention without is_decoder", constructs([](const Uses& u) {
         return u.make("QDQBertModel", {{"add_cross_attention", true}});
       })},
      {"encoder states given to a decoder without cross-attention (end of the text)",
       [](const Uses& u, const Json&) {
         ModelInputs inputs = u.inputs();
         inputs.encoder_hidden_states = u.states(5);
         return forward(u.make("QDQBertModel", {{"is_decoder", true}}), inputs);
       }},
  };
  return uses;
}

TEST(ModelErrorsGolden, NamedUses) {
  GoldenFamily family("model_errors");
  const Uses uses;
  const Json golden = read_json(golden_dir() / "model/errors.json");
  for (const Json& item : golden.at("cases")) {
    const std::string name = item.at("name");
    family.run(name, [&] {
      if (const auto refusal = refusals().find(name); refusal != refusals().end()) {
        EXPECT_THROW(refusal->second(uses, Json()), InputError);
        return;
      }
      const auto use = table().find(name);
      if (use == table().end())
        throw GoldenSkip{"an option of the configure step or a use that only its name describes"};
      if (item.at("exception").is_null()) {
        EXPECT_EQ(use->second(uses, item.at("result")), item.at("result"));
      } else {
        // The mismatch of layer sizes is found by LibTorch, everything else by a check of ours.
        EXPECT_ANY_THROW(use->second(uses, item.at("result")));
      }
    });
  }
}

}  // namespace
}  // namespace qdqbert::model
