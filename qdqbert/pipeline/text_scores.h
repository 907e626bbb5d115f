// Logits to scores and ranks.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/pipeline/model_facts.h"
#include "qdqbert/pipeline/text_model.h"

namespace qdqbert::pipeline {

std::vector<double> softmax(std::span<const float> logits);
std::vector<double> sigmoids(std::span<const float> logits);
/// Indices of the highest scores, at most `count`, equal ones by index.
std::vector<size_t> best_first(std::span<const double> scores, size_t count);

/// Names of the model's columns: id2label, or LABEL_0, LABEL_1, ... Throws InputError when
/// config.json names another number of labels.
std::vector<std::string> labels_for(const ModelFacts& facts, const TextModel& model);

}  // namespace qdqbert::pipeline
