#include "cli/predictor.h"

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/pipeline/chooser.h"
#include "qdqbert/pipeline/classifier.h"
#include "qdqbert/pipeline/generator.h"
#include "qdqbert/pipeline/mask_filler.h"
#include "qdqbert/pipeline/next_sentence.h"
#include "qdqbert/pipeline/tagger.h"
#include "qdqbert/pipeline/text_scores.h"

#include "cli/answer_text.h"

namespace qdqbert::cli {

namespace {

/// A task of the library with its requests and answers in JSON's terms.
template <class Task>
class Over : public Predictor {
 public:
  template <class... Options>
  explicit Over(const Options&... options) : task_(options...) {}

  std::unique_ptr<const Prepared> prepare(const TextRequest& request) const override {
    return std::make_unique<Tokens>(request, task_.prepare(request_of(request)));
  }

  std::vector<Json> answer(std::span<const Prepared* const> prepared,
                           const pipeline::RunControl& control) const override {
    std::vector<const typename Task::PreparedType*> inner;
    for (const Prepared* one : prepared) inner.push_back(&static_cast<const Tokens*>(one)->prepared);
    const std::vector<typename Task::AnswerType> answers = task_.answer_together(inner, control);
    std::vector<Json> list;
    for (size_t i = 0; i < answers.size(); ++i) {
      Json& json = list.emplace_back(json_of(static_cast<const Tokens*>(prepared[i])->request, answers[i]));
      if constexpr (requires { answers[i].truncated; })
        if (answers[i].truncated) json["truncated"] = true;
    }
    return list;
  }

 protected:
  /// Throws InputError for parts that do not go with the task.
  virtual typename Task::RequestType request_of(const TextRequest& request) const = 0;
  virtual Json json_of(const TextRequest& request, const typename Task::AnswerType& answer) const = 0;

  static void refuse_choices(const TextRequest& request) {
    if (!request.choices.empty()) fail("choices go with a multiple-choice model");
  }
  static void refuse_pair(const TextRequest& request, const char* task) {
    if (request.pair) fail("a second text does not go with {}", task);
  }

 private:
  struct Tokens : Prepared {
    Tokens(TextRequest r, typename Task::PreparedType p) : request(std::move(r)), prepared(std::move(p)) {}
    size_t tokens() const override {
      if constexpr (requires { prepared.tokens(); })
        return prepared.tokens();
      else
        return prepared.size();
    }
    TextRequest request;
    typename Task::PreparedType prepared;
  };

  Task task_;
};

class Questions : public Over<pipeline::QuestionAnswerer> {
 public:
  Questions(const pipeline::Pipeline& pipeline, const PredictorOptions& options)
      : Over(pipeline, options.questions), n_best_(options.n_best) {}

  std::string describe(const Json& answer) const override {
    return answer.at("answer").get<std::string>() + "\n";
  }

 private:
  pipeline::Question request_of(const TextRequest& request) const override {
    return {request.text, request.pair.value_or(""), request.name};
  }
  Json json_of(const TextRequest&, const pipeline::Answer& answer) const override {
    return answer_json(answer, n_best_);
  }

  int64_t n_best_;
};

class Classify : public Over<pipeline::Classifier> {
 public:
  Classify(const pipeline::Pipeline& pipeline, const PredictorOptions& options)
      : Over(pipeline, pipeline::ClassifierOptions{static_cast<size_t>(options.top_k), options.threshold}) {}

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
  pipeline::TextRequest request_of(const TextRequest& request) const override {
    refuse_choices(request);
    return {request.text, request.pair};
  }

  Json json_of(const TextRequest&, const pipeline::Classification& answer) const override {
    if (answer.kind == pipeline::ScoreKind::kRegression) {
      if (answer.scores.size() == 1) return {{"value", answer.scores[0].score}};
      Json values = Json::object();
      for (const pipeline::LabelScore& one : answer.scores) values[one.label] = one.score;
      return {{"values", values}};
    }
    Json ranked = Json::array();
    for (const pipeline::LabelScore& one : answer.scores)
      ranked.push_back({{"label", one.label}, {"score", one.score}});
    if (answer.kind == pipeline::ScoreKind::kSingleLabel)
      return {{"label", answer.labels[0].label}, {"score", answer.labels[0].score}, {"scores", ranked}};
    Json chosen = Json::array();
    for (const pipeline::LabelScore& one : answer.labels) chosen.push_back(one.label);
    return {{"labels", chosen}, {"scores", ranked}};
  }
};

class Tag : public Over<pipeline::Tagger> {
 public:
  using Over::Over;

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
  std::string request_of(const TextRequest& request) const override {
    refuse_choices(request);
    refuse_pair(request, "tagging");
    return request.text;
  }

  Json json_of(const TextRequest&, const pipeline::Tagging& answer) const override {
    Json list = Json::array();
    for (const pipeline::TaggedEntity& entity : answer.entities)
      list.push_back({{"entity", entity.type},
                      {"score", entity.score},
                      {"start", entity.place.begin},
                      {"end", entity.place.end},
                      {"text", entity.text}});
    return {{"entities", list}};
  }
};

class Choose : public Over<pipeline::Chooser> {
 public:
  using Over::Over;

  std::string describe(const Json& answer) const override {
    std::string text = answer.at("text").get<std::string>() + "\n";
    for (const Json& item : answer.at("scores"))
      text +=
          fmt::format("  {:.4f} {}\n", item.at("score").get<double>(), item.at("text").get<std::string>());
    return text;
  }

 private:
  pipeline::ChoiceRequest request_of(const TextRequest& request) const override {
    refuse_pair(request, "multiple choice");
    return {request.text, request.choices};
  }

  Json json_of(const TextRequest& request, const pipeline::Choice& answer) const override {
    Json ranked = Json::array();
    for (const size_t i : pipeline::best_first(answer.scores, answer.scores.size()))
      ranked.push_back({{"choice", i}, {"text", request.choices[i]}, {"score", answer.scores[i]}});
    return {{"choice", answer.index}, {"text", request.choices[answer.index]}, {"scores", ranked}};
  }
};

class FillMask : public Over<pipeline::MaskFiller> {
 public:
  FillMask(const pipeline::Pipeline& pipeline, const PredictorOptions& options)
      : Over(pipeline, pipeline::MaskFillerOptions{static_cast<size_t>(options.top_k)}) {}

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
  pipeline::TextRequest request_of(const TextRequest& request) const override {
    refuse_choices(request);
    return {request.text, request.pair};
  }

  Json json_of(const TextRequest&, const pipeline::FilledText& answer) const override {
    Json masks = Json::array();
    for (const std::vector<pipeline::Filler>& fillers : answer.masks) {
      Json& list = masks.emplace_back(Json::array());
      for (const pipeline::Filler& filler : fillers)
        list.push_back(
            {{"token", filler.token}, {"id", filler.id}, {"score", filler.score}, {"text", filler.text}});
    }
    return {{"masks", masks}};
  }
};

class NextSentence : public Over<pipeline::NextSentence> {
 public:
  using Over::Over;

  std::string describe(const Json& answer) const override {
    return fmt::format("{}\n  score {:.4f}\n",
                       answer.at("is_next").get<bool>() ? "follows" : "does not follow",
                       answer.at("score").get<double>());
  }

 private:
  pipeline::SentencePair request_of(const TextRequest& request) const override {
    refuse_choices(request);
    if (!request.pair) fail("a second text is needed, the one that may follow");
    return {request.text, *request.pair};
  }

  Json json_of(const TextRequest&, const pipeline::NextSentenceAnswer& answer) const override {
    return {{"is_next", answer.is_next}, {"score", answer.score}};
  }
};

class Generate : public Over<pipeline::Generator> {
 public:
  Generate(const pipeline::Pipeline& pipeline, const PredictorOptions& options)
      : Over(pipeline, pipeline::GeneratorOptions{options.generation, options.use_cache}) {}

  std::string describe(const Json& answer) const override {
    return fmt::format("{}\n  {} tokens, score {:.4f}\n", answer.at("text").get<std::string>(),
                       answer.at("tokens").size(), answer.at("score").get<double>());
  }

 private:
  std::string request_of(const TextRequest& request) const override {
    if (!request.choices.empty() || request.pair) fail("generation continues one text");
    return request.text;
  }

  Json json_of(const TextRequest&, const pipeline::GeneratedText& answer) const override {
    return {{"text", answer.text},
            {"tokens", answer.tokens},
            {"score", answer.score},
            {"finish", answer.ended ? "end" : "length"}};
  }
};

class Embed : public Over<pipeline::Embedder> {
 public:
  Embed(const pipeline::Pipeline& pipeline, const PredictorOptions& options)
      : Over(pipeline, options.embeddings) {}

  std::string describe(const Json& answer) const override {
    return dump_json(answer.at("embedding"), {-1, false, false, true});
  }

 private:
  pipeline::TextRequest request_of(const TextRequest& request) const override {
    refuse_choices(request);
    return {request.text, request.pair};
  }

  Json json_of(const TextRequest&, const pipeline::Embedding& answer) const override {
    return {{"embedding", answer.values}};
  }
};

}  // namespace

std::unique_ptr<Predictor> make_predictor(pipeline::TaskKind task, const pipeline::Pipeline& pipeline,
                                          const PredictorOptions& options) {
  switch (task) {
    case pipeline::TaskKind::kQuestions:
      return std::make_unique<Questions>(pipeline, options);
    case pipeline::TaskKind::kClassify:
      return std::make_unique<Classify>(pipeline, options);
    case pipeline::TaskKind::kTag:
      return std::make_unique<Tag>(pipeline);
    case pipeline::TaskKind::kChoose:
      return std::make_unique<Choose>(pipeline);
    case pipeline::TaskKind::kFillMask:
      return std::make_unique<FillMask>(pipeline, options);
    case pipeline::TaskKind::kNextSentence:
      return std::make_unique<NextSentence>(pipeline);
    case pipeline::TaskKind::kEmbed:
      return std::make_unique<Embed>(pipeline, options);
    case pipeline::TaskKind::kGenerate:
      return std::make_unique<Generate>(pipeline, options);
  }
  fail<Error>("[predict] a task without a name");
}

}  // namespace qdqbert::cli
