// Multiple choice: pairs of prompt and choice as model inputs, and logits back to ranked choices.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "qdqbert/base/json.h"
#include "qdqbert/tasks/choice_dataset.h"
#include "qdqbert/tasks/token_rows.h"

namespace qdqbert::tasks {

struct ChoiceFeatures {
  TokenRows rows;             ///< choices of one example behind each other
  std::vector<size_t> begin;  ///< first row of each example; one more at the end

  static ChoiceFeatures build(const ChoiceData& data, const text::Tokenizer& tokenizer, int max_length,
                              int threads = 1);
};

struct ChoicePrediction {
  int64_t best = 0;            ///< the smaller index among equal ones
  std::vector<double> scores;  ///< softmax over the choices
};

/// `logits`: one of each row. Throws InputError for one that is NaN.
std::vector<ChoicePrediction> choice_predictions(const ChoiceFeatures& features,
                                                 const std::vector<float>& logits);

/// {accuracy}
Json choice_metrics(const ChoiceData& data, const std::vector<ChoicePrediction>& predictions);

/// `<prefix>_predictions.json` (id: number), `<prefix>_choices.jsonl` (prompt, ranked choices, scores).
void write_choice_predictions(const std::filesystem::path& directory, const std::string& prefix,
                              const ChoiceData& data, const std::vector<ChoicePrediction>& predictions);

}  // namespace qdqbert::tasks
