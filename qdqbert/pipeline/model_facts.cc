#include "qdqbert/pipeline/model_facts.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/json.h"
#include "qdqbert/io/bert_config.h"
#include "qdqbert/tasks/sentence_folder.h"

namespace qdqbert::pipeline {

namespace {

namespace fs = std::filesystem;

/// A text-classification model with more labels than this is no model.
constexpr int64_t kMostLabels = 10'000'000;

std::optional<TaskKind> task_of_class(std::string_view name) {
  if (name.ends_with("ForQuestionAnswering")) return TaskKind::kQuestions;
  if (name.ends_with("ForSequenceClassification")) return TaskKind::kClassify;
  if (name.ends_with("ForTokenClassification")) return TaskKind::kTag;
  if (name.ends_with("ForMultipleChoice")) return TaskKind::kChoose;
  if (name.ends_with("ForMaskedLM")) return TaskKind::kFillMask;
  if (name.ends_with("ForNextSentencePrediction")) return TaskKind::kNextSentence;
  if (name.ends_with("LMHeadModel")) return TaskKind::kGenerate;
  if (name.ends_with("BertModel")) return TaskKind::kEmbed;
  return std::nullopt;
}

std::map<int64_t, std::string> labels_of(const Json& map, const std::string& file) {
  if (!map.is_object()) fail("[model] id2label of {} is no object", file);
  std::map<int64_t, std::string> labels;
  for (const auto& [key, value] : map.items()) {
    int64_t index = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
    if (error != std::errc() || end != key.data() + key.size() || index < 0 || index >= kMostLabels)
      fail("[model] id2label of {} has the key {}, which is no index of a label", file, key);
    const std::optional<std::string> text = io::label_text(value);
    if (!text) fail("[model] label {} of {} is no text", key, file);
    labels[index] = *text;
  }
  return labels;
}

}  // namespace

const std::vector<std::string>& task_names() {
  static const std::vector<std::string> names = {"qa",        "classify",      "tag",      "choose",
                                                 "fill-mask", "next-sentence", "generate", "embed"};
  return names;
}

std::string_view name_of(TaskKind task) {
  return task_names()[static_cast<size_t>(task)];
}

ModelFacts read_model_facts(const fs::path& onnx_file) {
  fs::path place = onnx_file.parent_path().empty() ? fs::path(".") : onnx_file.parent_path();
  if (!fs::is_regular_file(place / "config.json")) place /= "..";
  const fs::path file = place / "config.json";
  ModelFacts facts;
  facts.sentence = tasks::sentence_folder_of(onnx_file);
  if (!fs::is_regular_file(file)) return facts;
  const Json config = read_json(file);
  if (!config.is_object()) fail("[model] {} is no JSON object", file.string());
  if (const auto found = config.find("architectures"); found != config.end() && found->is_array())
    for (const Json& name : *found)
      if (name.is_string() && !facts.task) facts.task = task_of_class(name.get<std::string>());
  if (const auto found = config.find("id2label"); found != config.end())
    facts.labels = labels_of(*found, file.string());
  if (const auto found = config.find("problem_type"); found != config.end() && found->is_string()) {
    const auto type = found->get<std::string>();
    if (type == "single_label_classification") facts.scores = ScoreKind::kSingleLabel;
    if (type == "multi_label_classification") facts.scores = ScoreKind::kMultiLabel;
    if (type == "regression") facts.scores = ScoreKind::kRegression;
  }
  return facts;
}

std::optional<TaskKind> task_of_outputs(const engine::Session& session) {
  const auto has = [&](std::string_view part) {
    const std::vector<std::string>& names = session.output_names();
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return name.find(part) != std::string::npos; });
  };
  if (has("start") && has("end")) return TaskKind::kQuestions;
  if (has("last_hidden_state") || has("token_embeddings") || has("sentence_embedding"))
    return TaskKind::kEmbed;
  return std::nullopt;
}

}  // namespace qdqbert::pipeline
