// What config.json beside an ONNX file says about its use.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/engine/session.h"
#include "qdqbert/tasks/sentence_embedding.h"

namespace qdqbert::pipeline {

enum class TaskKind {
  kQuestions,
  kClassify,
  kTag,
  kChoose,
  kFillMask,
  kNextSentence,
  kGenerate,
  kEmbed,
};

/// Names as --task takes them, in the order of the enumeration.
const std::vector<std::string>& task_names();
std::string_view name_of(TaskKind task);

/// How the logits of a classifier become scores.
enum class ScoreKind {
  kSingleLabel,  ///< softmax
  kMultiLabel,   ///< a sigmoid for each label
  kRegression,   ///< as they are
};

struct ModelFacts {
  std::optional<TaskKind> task;                  ///< of the first of `architectures` that has one
  std::map<int64_t, std::string> labels;         ///< id2label
  std::optional<ScoreKind> scores;               ///< of problem_type
  std::optional<tasks::SentenceModel> sentence;  ///< of modules.json: how states become a vector
};

/// Reads config.json in the file's directory or the one above it, and modules.json of sentence-transformers;
/// everything absent when there is none. Throws InputError for a config.json that is no JSON object, and for an id2label
/// that is no map from numbers to texts, numbers or truth values.
ModelFacts read_model_facts(const std::filesystem::path& onnx_file);

/// The task that the names of a graph's outputs suggest, for files without config.json.
std::optional<TaskKind> task_of_outputs(const engine::Session& session);

}  // namespace qdqbert::pipeline
