// What `predict` does with a text, task by task: tokens in, a JSON answer out.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/json.h"
#include "qdqbert/tasks/text_generation.h"
#include "qdqbert/text/encoding.h"
#include "qdqbert/text/tokenizer.h"

#include "cli/model_facts.h"
#include "cli/text_model.h"

namespace qdqbert::cli {

struct TextRequest {
  std::string text;
  std::optional<std::string> pair;
  std::vector<std::string> choices;  ///< multiple choice only
};

/// What the model has to see for one request.
struct TaskTexts {
  std::vector<text::Encoding> texts;
  bool truncated = false;  ///< an end was cut off, the answer says so
};

struct PredictorOptions {
  int max_length = 384;      ///< tokens with special ones
  int64_t top_k = 5;         ///< scores, fillers that an answer lists
  double threshold = 0.5;    ///< of labels that are independent of each other
  bool normalize = true;     ///< embeddings
  bool first_token = false;  ///< embeddings: the first token's row and not the mean
  tasks::GenerationOptions generation;
  bool use_cache = true;  ///< generation: false computes the whole text for every token
  size_t tokens_per_batch = 2048;
};

class Predictor {
 public:
  virtual ~Predictor() = default;
  /// Throws InputError for requests that do not fit the task.
  virtual TaskTexts encode(const TextRequest& request) const = 0;
  /// The answer from what the model gave for each of them.
  virtual Json answer(const TextRequest& request, std::span<const text::Encoding> texts,
                      std::span<const TextOutput> outputs) const = 0;
  /// The answer for people.
  virtual std::string describe(const Json& answer) const = 0;
  /// Runs the texts of several requests together.
  virtual std::vector<TextOutput> run(std::span<const text::Encoding* const> texts,
                                      const std::function<void()>& look) const = 0;
};

/// Everything but questions about a context. The session and the tokenizer have to live as long as the task.
/// Throws InputError when the model's outputs do not fit the task, or its labels the outputs.
std::unique_ptr<Predictor> make_predictor(PredictTask task, const engine::Session& session, std::string model,
                                          const text::Tokenizer& tokenizer, const ModelFacts& facts,
                                          const PredictorOptions& options);

}  // namespace qdqbert::cli
