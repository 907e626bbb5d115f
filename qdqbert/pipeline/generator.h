// Texts continued token by token.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "qdqbert/pipeline/task.h"
#include "qdqbert/tasks/text_generation.h"

namespace qdqbert::pipeline {

struct GeneratorOptions {
  tasks::GenerationOptions generation;  ///< end_token absent: the tokenizer's [SEP]
  bool use_cache = true;                ///< false computes the whole text for every token, to the same bits
};

struct GeneratedText {
  std::string text;             ///< without the prompt
  std::vector<int32_t> tokens;  ///< the end token included where it was reached
  double score = 0;             ///< log probability; of beams divided by length ^ length_penalty
  bool ended = false;           ///< the model ended it; false: max_new_tokens did
};

/// Requests are continued one after the other. RunControl is looked at before each token and hears of it behind.
class Generator : public Task<std::string, std::vector<int32_t>, GeneratedText> {
 public:
  /// Throws UsageError for options outside their range.
  explicit Generator(Pipeline pipeline, const GeneratorOptions& options = {});

  /// [CLS] and the text. Throws InputError when the new tokens do not fit the model behind it.
  std::vector<int32_t> prepare(const std::string& text) const override;

  std::vector<GeneratedText> answer_together(std::span<const std::vector<int32_t>* const> prepared,
                                             const RunControl& control = {}) const override;

 private:
  GeneratorOptions options_;
  size_t output_;
};

}  // namespace qdqbert::pipeline
