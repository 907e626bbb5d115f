// Whether one text follows another.
#pragma once

#include <string>

#include "qdqbert/pipeline/text_task.h"

namespace qdqbert::pipeline {

struct SentencePair {
  std::string first, second;  ///< UTF-8; the first not empty
};

struct NextSentenceAnswer {
  bool is_next = false;
  double score = 0;        ///< probability that it follows, 0 to 1
  bool truncated = false;  ///< the end of a text was not read
};

class NextSentence : public TextTask<SentencePair, NextSentenceAnswer> {
 public:
  /// Throws InputError for models without 2 scores for a text too.
  explicit NextSentence(Pipeline pipeline);

  PreparedText prepare(const SentencePair& request) const override;

 private:
  NextSentenceAnswer answer_from(const PreparedText& prepared,
                                 std::span<const TextOutput> outputs) const override;
};

}  // namespace qdqbert::pipeline
