#include "cli/predictor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/base/utf8.h"

#include "cli/continuation.h"
#include "cli/entities.h"
#include "cli/text_scores.h"

namespace qdqbert::cli {

namespace {

/// Tasks with one output of the model and a batch at a time.
class ModelPredictor : public Predictor {
 public:
  ModelPredictor(TextModel model, const text::Tokenizer& tokenizer, const PredictorOptions& options)
      : model_(std::move(model)), tokenizer_(tokenizer), o_(options) {}

  std::vector<TextOutput> run(std::span<const text::Encoding* const> texts,
                              const std::function<void()>& look) const override {
    return model_.run(texts, look);
  }

 protected:
  /// Adds one row for a text or pair, cut to the longest that the model takes.
  void encode_one(const std::string& first, const std::optional<std::string>& second, TaskTexts& to) const {
    if (first.empty() && !takes_empty_texts()) fail("the text is empty");
    text::EncodeOptions options;
    std::vector<std::string> pairs;
    if (second) pairs.push_back(*second);
    text::Encoding whole = std::move(text::encode(tokenizer_, {first}, pairs, options).features.at(0));
    if (whole.ids.size() > static_cast<size_t>(o_.max_length)) {
      options.truncation = text::Truncation::kLongestFirst;
      options.max_length = o_.max_length;
      whole = std::move(text::encode(tokenizer_, {first}, pairs, options).features.at(0));
      to.truncated = true;
    }
    to.texts.push_back(std::move(whole));
  }

  virtual bool takes_empty_texts() const { return false; }

  TaskTexts encode_one(const std::string& first, const std::optional<std::string>& second) const {
    TaskTexts made;
    encode_one(first, second, made);
    return made;
  }

  static void refuse_choices(const TextRequest& request) {
    if (!request.choices.empty()) fail("choices go with a multiple-choice model");
  }
  static void refuse_pair(const TextRequest& request, const char* task) {
    if (request.pair) fail("a second text does not go with {}", task);
  }

  TextModel model_;
  const text::Tokenizer& tokenizer_;
  PredictorOptions o_;
};

class Classify : public ModelPredictor {
 public:
  Classify(TextModel model, const text::Tokenizer& tokenizer, const ModelFacts& facts,
           const PredictorOptions& options)
      : ModelPredictor(std::move(model), tokenizer, options),
        labels_(labels_for(facts, model_)),
        kind_(facts.scores.value_or(labels_.size() == 1 ? ScoreKind::kRegression : ScoreKind::kSingleLabel)) {
  }

  TaskTexts encode(const TextRequest& request) const override {
    refuse_choices(request);
    return encode_one(request.text, request.pair);
  }

  Json answer(const TextRequest&, std::span<const text::Encoding>,
              std::span<const TextOutput> outputs) const override {
    const std::span<const float> logits = outputs[0].row(0);
    if (kind_ == ScoreKind::kRegression) {
      if (logits.size() == 1) return {{"value", double{logits[0]}}};
      Json values = Json::object();
      for (size_t i = 0; i < logits.size(); ++i) values[labels_[i]] = double{logits[i]};
      return {{"values", values}};
    }
    const std::vector<double> scores = kind_ == ScoreKind::kMultiLabel ? sigmoids(logits) : softmax(logits);
    const std::vector<size_t> order = best_first(scores, static_cast<size_t>(o_.top_k));
    Json ranked = Json::array();
    for (const size_t i : order) ranked.push_back({{"label", labels_[i]}, {"score", scores[i]}});
    if (kind_ == ScoreKind::kSingleLabel)
      return {{"label", labels_[order[0]]}, {"score", scores[order[0]]}, {"scores", ranked}};
    Json chosen = Json::array();
    for (const size_t i : best_first(scores, scores.size()))
      if (scores[i] >= o_.threshold) chosen.push_back(labels_[i]);
    return {{"labels", chosen}, {"scores", ranked}};
  }

  std::string describe(const Json& answer) const override {
    if (answer.contains("value")) return fmt::format("{:.6g}\n", answer.at("value").get<double>());
    std::string text;
    if (answer.contains("values")) {
      for (const auto& [label, value] : answer.at("values").items())
        text += fmt::format("{}: {:.6g}\n", label, value.get<double>());
      return text;
    }
    if (answer.contains("label")) {
      text = answer.at("label").get<std::string>() + "\n";
    } else {
      for (const Json& label : answer.at("labels"))
        text += (text.empty() ? "" : ", ") + label.get<std::string>();
      text = (text.empty() ? "no label" : text) + "\n";
    }
    for (const Json& item : answer.at("scores"))
      text +=
          fmt::format("  {:.4f} {}\n", item.at("score").get<double>(), item.at("label").get<std::string>());
    return text;
  }

 private:
  std::vector<std::string> labels_;
  ScoreKind kind_;
};

class Tag : public ModelPredictor {
 public:
  Tag(TextModel model, const text::Tokenizer& tokenizer, const ModelFacts& facts,
      const PredictorOptions& options)
      : ModelPredictor(std::move(model), tokenizer, options), decoder_(labels_for(facts, model_)) {
    if (decoder_.unnamed())
      log_warning(
          "the labels of {} are numbers without names, so no entities can be told; name them in id2label of "
          "config.json beside it",
          model_.name());
  }

  /// Long texts in windows that share half of their tokens, so that each token is seen with both sides.
  TaskTexts encode(const TextRequest& request) const override {
    refuse_choices(request);
    refuse_pair(request, "tagging");
    text::EncodeOptions options;
    options.truncation = text::Truncation::kLongestFirst;
    options.max_length = o_.max_length;
    options.stride = (o_.max_length - 2) / 2;
    options.return_overflow = true;
    if (request.text.empty()) fail("the text is empty");
    return {std::move(text::encode(tokenizer_, {request.text}, {}, options).features)};
  }

  Json answer(const TextRequest& request, std::span<const text::Encoding> texts,
              std::span<const TextOutput> outputs) const override {
    const CodePointIndex index(request.text);
    Json list = Json::array();
    for (const Entity& entity : find_entities(label_words(tokenizer_, texts, outputs), decoder_))
      list.push_back({{"entity", entity.type},
                      {"score", entity.score},
                      {"start", entity.begin},
                      {"end", entity.end},
                      {"text", std::string(index.slice(entity.begin, entity.end))}});
    return {{"entities", list}};
  }

  std::string describe(const Json& answer) const override {
    std::string text;
    for (const Json& entity : answer.at("entities"))
      text +=
          fmt::format("{} ({})\n  score {:.4f}, characters {} to {}\n", entity.at("text").get<std::string>(),
                      entity.at("entity").get<std::string>(), entity.at("score").get<double>(),
                      entity.at("start").get<int64_t>(), entity.at("end").get<int64_t>());
    return text.empty() ? "no entities\n" : text;
  }

 private:
  tasks::EntityDecoder decoder_;
};

class Choose : public ModelPredictor {
 public:
  using ModelPredictor::ModelPredictor;

  TaskTexts encode(const TextRequest& request) const override {
    refuse_pair(request, "multiple choice");
    if (request.choices.size() < 2)
      fail("{} choice{} given, two at least are needed", request.choices.size(),
           request.choices.size() == 1 ? " is" : "s are");
    TaskTexts made;
    for (const std::string& choice : request.choices) encode_one(request.text, choice, made);
    return made;
  }

  Json answer(const TextRequest& request, std::span<const text::Encoding>,
              std::span<const TextOutput> outputs) const override {
    std::vector<float> logits;
    for (const TextOutput& output : outputs) logits.push_back(output.values.at(0));
    const std::vector<double> scores = softmax(logits);
    Json ranked = Json::array();
    for (const size_t i : best_first(scores, scores.size()))
      ranked.push_back({{"choice", i}, {"text", request.choices[i]}, {"score", scores[i]}});
    return {{"choice", ranked[0].at("choice")}, {"text", ranked[0].at("text")}, {"scores", ranked}};
  }

  std::string describe(const Json& answer) const override {
    std::string text = answer.at("text").get<std::string>() + "\n";
    for (const Json& item : answer.at("scores"))
      text +=
          fmt::format("  {:.4f} {}\n", item.at("score").get<double>(), item.at("text").get<std::string>());
    return text;
  }
};

class FillMask : public ModelPredictor {
 public:
  using ModelPredictor::ModelPredictor;

  TaskTexts encode(const TextRequest& request) const override {
    refuse_choices(request);
    TaskTexts made = encode_one(request.text, request.pair);
    const std::vector<int32_t>& ids = made.texts[0].ids;
    if (std::find(ids.begin(), ids.end(), tokenizer_.mask_id()) == ids.end())
      fail("the first {} tokens of the text hold no {}, which says what to fill in", ids.size(),
           tokenizer_.options().mask);
    return made;
  }

  std::vector<TextOutput> run(std::span<const text::Encoding* const> texts,
                              const std::function<void()>& look) const override {
    std::vector<std::vector<uint32_t>> masks;
    for (const text::Encoding* text : texts) masks.push_back(masks_of(*text));
    return model_.run_tokens(texts, masks, look);
  }

  Json answer(const TextRequest&, std::span<const text::Encoding> texts,
              std::span<const TextOutput> outputs) const override {
    Json masks = Json::array();
    for (const uint32_t t : masks_of(texts[0])) {
      const std::vector<double> scores = softmax(outputs[0].row(masks.size()));
      Json fillers = Json::array();
      for (const size_t id : best_first(scores, static_cast<size_t>(o_.top_k))) {
        std::vector<int32_t> filled = texts[0].ids;
        filled[t] = static_cast<int32_t>(id);
        fillers.push_back({{"token", std::string(tokenizer_.vocabulary().token(static_cast<int64_t>(id)))},
                           {"id", id},
                           {"score", scores[id]},
                           {"text", tokenizer_.decode(filled, true, true)}});
      }
      masks.push_back(std::move(fillers));
    }
    return {{"masks", masks}};
  }

  std::string describe(const Json& answer) const override {
    std::string text;
    for (const Json& fillers : answer.at("masks")) {
      text += fillers.at(0).at("token").get<std::string>() + "\n";
      for (const Json& item : fillers)
        text +=
            fmt::format("  {:.4f} {}\n", item.at("score").get<double>(), item.at("token").get<std::string>());
    }
    return text;
  }

 private:
  std::vector<uint32_t> masks_of(const text::Encoding& text) const {
    std::vector<uint32_t> places;
    for (size_t t = 0; t < text.ids.size(); ++t)
      if (text.ids[t] == tokenizer_.mask_id()) places.push_back(static_cast<uint32_t>(t));
    return places;
  }
};

class NextSentence : public ModelPredictor {
 public:
  using ModelPredictor::ModelPredictor;

  TaskTexts encode(const TextRequest& request) const override {
    refuse_choices(request);
    if (!request.pair) fail("a second text is needed, the one that may follow");
    return encode_one(request.text, request.pair);
  }

  /// Label 0 of the pre-training task means that the second text does follow.
  Json answer(const TextRequest&, std::span<const text::Encoding>,
              std::span<const TextOutput> outputs) const override {
    const std::vector<double> scores = softmax(outputs[0].row(0));
    return {{"is_next", scores.at(0) >= scores.at(1)}, {"score", scores[0]}};
  }

  std::string describe(const Json& answer) const override {
    return fmt::format("{}\n  score {:.4f}\n",
                       answer.at("is_next").get<bool>() ? "follows" : "does not follow",
                       answer.at("score").get<double>());
  }
};

class Generate : public Predictor {
 public:
  Generate(const engine::Session& session, size_t output, const text::Tokenizer& tokenizer,
           const PredictorOptions& options)
      : session_(session), output_(output), tokenizer_(tokenizer), o_(options) {
    o_.generation.end_token = tokenizer.sep_id();
  }

  /// [CLS] and the text; the [SEP] that ends a text is for the model to say.
  TaskTexts encode(const TextRequest& request) const override {
    if (!request.choices.empty() || request.pair) fail("generation continues one text");
    if (request.text.empty()) fail("the text is empty");
    text::Encoding encoded;
    encoded.ids = tokenizer_.tokenize(request.text).ids;
    encoded.ids.insert(encoded.ids.begin(), tokenizer_.cls_id());
    // The last token that is generated is not read any more.
    const auto tokens = static_cast<int64_t>(encoded.ids.size()) + o_.generation.max_new_tokens - 1;
    if (tokens > o_.max_length)
      fail(
          "{} tokens and {} new ones do not fit the {} that there is room for; "
          "shorten the text or --max_new_tokens",
          encoded.ids.size(), o_.generation.max_new_tokens, o_.max_length);
    encoded.type_ids.assign(encoded.ids.size(), 0);
    return {{std::move(encoded)}};
  }

  std::vector<TextOutput> run(std::span<const text::Encoding* const> texts,
                              const std::function<void()>& look) const override {
    std::vector<TextOutput> outputs;
    for (const text::Encoding* text : texts) {
      const tasks::NextTokenLogits next = next_token_logits(session_, output_, o_.use_cache);
      const std::vector<tasks::Generated> made = tasks::generate(
          text->ids,
          [&](const tasks::GenerationStep& step) {
            look();
            return next(step);
          },
          o_.generation);
      outputs.push_back({0, 0, {}, made.at(0).tokens, made[0].score});
    }
    return outputs;
  }

  Json answer(const TextRequest&, std::span<const text::Encoding>,
              std::span<const TextOutput> outputs) const override {
    const std::vector<int32_t>& tokens = outputs[0].generated;
    const bool ended = !tokens.empty() && tokens.back() == tokenizer_.sep_id();
    return {{"text", tokenizer_.decode(tokens, true, true)},
            {"tokens", tokens},
            {"score", outputs[0].score},
            {"finish", ended ? "end" : "length"}};
  }

  std::string describe(const Json& answer) const override {
    return fmt::format("{}\n  {} tokens, score {:.4f}\n", answer.at("text").get<std::string>(),
                       answer.at("tokens").size(), answer.at("score").get<double>());
  }

 private:
  const engine::Session& session_;
  size_t output_;
  const text::Tokenizer& tokenizer_;
  PredictorOptions o_;
};

class Embed : public ModelPredictor {
 public:
  using ModelPredictor::ModelPredictor;

  TaskTexts encode(const TextRequest& request) const override {
    refuse_choices(request);
    return encode_one(request.text, request.pair);
  }

  Json answer(const TextRequest&, std::span<const text::Encoding>,
              std::span<const TextOutput> outputs) const override {
    const TextOutput& states = outputs[0];
    std::vector<double> sum(states.columns, 0.0);
    const size_t rows = o_.first_token ? 1 : states.rows;
    for (size_t r = 0; r < rows; ++r)
      for (size_t j = 0; j < states.columns; ++j) sum[j] += double{states.row(r)[j]};
    double square = 0;
    for (double& value : sum) {
      value /= static_cast<double>(rows);
      square += value * value;
    }
    const double length = o_.normalize && square > 0 ? std::sqrt(square) : 1.0;
    Json values = Json::array();
    for (const double value : sum) values.push_back(static_cast<float>(value / length));
    return {{"embedding", std::move(values)}};
  }

  std::string describe(const Json& answer) const override {
    return dump_json(answer.at("embedding"), {-1, false, false, true});
  }

 protected:
  bool takes_empty_texts() const override { return true; }
};

}  // namespace

std::unique_ptr<Predictor> make_predictor(PredictTask task, const engine::Session& session, std::string model,
                                          const text::Tokenizer& tokenizer, const ModelFacts& facts,
                                          const PredictorOptions& options) {
  // Logits of a whole vocabulary for each token: fewer tokens a batch do the same work in less memory.
  constexpr size_t kTokensOfLanguageModels = 256;
  const auto over = [&](const char* output, bool by_token) {
    const size_t tokens = task == PredictTask::kFillMask
                              ? std::min(options.tokens_per_batch, kTokensOfLanguageModels)
                              : options.tokens_per_batch;
    // Files of others may call a single output as they like.
    const std::vector<std::string>& names = session.output_names();
    return TextModel(session, model, names.size() == 1 ? names[0] : output, by_token, tokens);
  };
  switch (task) {
    case PredictTask::kClassify:
      return std::make_unique<Classify>(over("logits", false), tokenizer, facts, options);
    case PredictTask::kTag:
      return std::make_unique<Tag>(over("logits", true), tokenizer, facts, options);
    case PredictTask::kChoose:
      return std::make_unique<Choose>(over("logits", false), tokenizer, options);
    case PredictTask::kFillMask:
      return std::make_unique<FillMask>(over("logits", true), tokenizer, options);
    case PredictTask::kNextSentence: {
      TextModel pairs = over("logits", false);
      if (pairs.columns() != 2)
        fail("[model] {} gives {} scores for a text, next-sentence prediction needs 2", model,
             pairs.columns());
      return std::make_unique<NextSentence>(std::move(pairs), tokenizer, options);
    }
    case PredictTask::kEmbed:
      return std::make_unique<Embed>(over("last_hidden_state", true), tokenizer, options);
    case PredictTask::kGenerate: {
      const std::vector<std::string>& names = session.output_names();
      const size_t output = find_output(session, model, names.size() == 1 ? names[0] : "logits");
      return std::make_unique<Generate>(session, output, tokenizer, options);
    }
    case PredictTask::kQuestions:
      break;
  }
  fail<Error>("[predict] {} is no task over single texts", name_of(task));
}

}  // namespace qdqbert::cli
