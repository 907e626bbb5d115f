// The shipped question-answering model with the reference's ranges, and batches of real text for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "qdqbert/model/heads.h"
#include "qdqbert/tasks/squad_features.h"

namespace qdqbert::testing {

/// models/minilm-l6-squad with the input ranges of `method` in reference-amax.json and the largest magnitude
/// of each row for weights. "" leaves every quantizer disabled.
std::shared_ptr<model::PreTrainedModel> shipped_model(const std::string& method);

/// The questions of dev-1000.json.gz as features of 384 tokens with a stride of 128.
struct ShippedQuestions {
  std::vector<tasks::SquadExample> examples;
  tasks::SquadFeatures features;
};
ShippedQuestions shipped_questions(size_t questions);

/// Features `which`, padded to the longest of them.
model::ModelInputs batch_of(const tasks::SquadFeatures& features, const std::vector<size_t>& which);

}  // namespace qdqbert::testing
