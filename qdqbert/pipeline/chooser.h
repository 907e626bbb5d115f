// Multiple choice: which of several texts goes on best.
#pragma once

#include <string>
#include <vector>

#include "qdqbert/pipeline/text_task.h"

namespace qdqbert::pipeline {

struct ChoiceRequest {
  std::string prompt;                ///< UTF-8, not empty
  std::vector<std::string> choices;  ///< two at least
};

struct Choice {
  size_t index = 0;            ///< of the best one; of equal ones the first
  std::vector<double> scores;  ///< by choice, 0 to 1, sum 1
  bool truncated = false;      ///< the end of a prompt or of a choice was not read
};

class Chooser : public TextTask<ChoiceRequest, Choice> {
 public:
  explicit Chooser(Pipeline pipeline);

  PreparedText prepare(const ChoiceRequest& request) const override;

 private:
  Choice answer_from(const PreparedText& prepared, std::span<const TextOutput> outputs) const override;
};

}  // namespace qdqbert::pipeline
