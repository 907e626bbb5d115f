#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/pipeline/model_facts.h"
#include "qdqbert/tasks/squad_postprocess.h"
#include "qdqbert/tasks/text_generation.h"

#include "cli/engine_flags.h"

namespace qdqbert::cli {

struct PredictOptions {
  std::string model, tokenizer;
  std::string task = "auto";
  std::optional<std::string> text, text_pair;
  std::vector<std::string> choices;
  int64_t top_k = 5;
  tasks::GenerationOptions generation{.max_new_tokens = 32};
  bool use_cache = true;
  double threshold = 0.5;
  bool normalize = true, normalize_given = false;
  std::string pooling = "model";
  std::optional<std::string> prompt_name;
  std::optional<std::string> question, context, squad, output, n_best_output, json;
  bool raw = false;
  int64_t max_seq_length = 384;
  std::optional<int64_t> doc_stride;  ///< default: a third of max_seq_length
  bool length_given = false;
  int64_t n_best = 1, tokens_per_batch = 2048;
  tasks::AnswerOptions answers;
  EngineFlags engine;
};

/// Of a name as --task takes it. Throws UsageError for another name.
pipeline::TaskKind predict_task_named(std::string_view name);

/// nullopt after --help. Throws UsageError.
std::optional<PredictOptions> parse_predict(const Arguments& arguments);

}  // namespace qdqbert::cli
