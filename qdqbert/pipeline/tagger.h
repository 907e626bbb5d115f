// Texts to labels of their words and to entities.
#pragma once

#include <string>
#include <vector>

#include "qdqbert/pipeline/text_span.h"
#include "qdqbert/pipeline/text_task.h"
#include "qdqbert/tasks/entity_decoder.h"

namespace qdqbert::pipeline {

struct TaggedWord {
  size_t index = 0;  ///< column of the model
  std::string label;
  double score = 0;  ///< probability of the label, 0 to 1
  TextSpan place;
};

struct TaggedEntity {
  std::string type, text;
  double score = 0;  ///< mean of its words
  TextSpan place;
};

struct Tagging {
  std::vector<TaggedEntity> entities;
  std::vector<TaggedWord> words;  ///< all of the text, whatever their label
};

/// Texts of any length: long ones are read in windows that share half of their tokens, and every token counts
/// where it is farthest from a window's ends.
class Tagger : public TextTask<std::string, Tagging> {
 public:
  /// Throws InputError when labels and outputs of the model do not fit.
  explicit Tagger(Pipeline pipeline);

  const std::vector<std::string>& labels() const { return labels_; }
  PreparedText prepare(const std::string& text) const override;

 private:
  Tagging answer_from(const PreparedText& prepared, std::span<const TextOutput> outputs) const override;

  std::vector<std::string> labels_;
  tasks::EntityDecoder decoder_;
};

}  // namespace qdqbert::pipeline
