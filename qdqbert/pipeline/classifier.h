// Texts and pairs of texts to labels or values.
#pragma once

#include <string>
#include <vector>

#include "qdqbert/pipeline/text_task.h"

namespace qdqbert::pipeline {

struct ClassifierOptions {
  size_t top_k = kAnyTokens;  ///< scores that an answer lists
  double threshold = 0.5;     ///< independent labels: the least score that counts
};

struct LabelScore {
  size_t index = 0;  ///< column of the model
  std::string label;
  double score = 0;  ///< probability, 0 to 1; of a regression the value
};

struct Classification {
  ScoreKind kind = ScoreKind::kSingleLabel;
  /// Best first, at most top_k; of a regression all, in the order of the model.
  std::vector<LabelScore> scores;
  /// kSingleLabel: the best. kMultiLabel: those that reach the threshold, best first. kRegression: none.
  std::vector<LabelScore> labels;
  bool truncated = false;  ///< the end of the text was not read
};

class Classifier : public TextTask<TextRequest, Classification> {
 public:
  /// Scores as config.json's problem_type says; without one, a single output is a value, several exclude each
  /// other. Throws InputError when labels and outputs of the model do not fit.
  explicit Classifier(Pipeline pipeline, const ClassifierOptions& options = {});

  const std::vector<std::string>& labels() const { return labels_; }
  PreparedText prepare(const TextRequest& request) const override;

 private:
  Classification answer_from(const PreparedText& prepared,
                             std::span<const TextOutput> outputs) const override;

  ClassifierOptions options_;
  std::vector<std::string> labels_;
  ScoreKind kind_;
};

}  // namespace qdqbert::pipeline
