// Scores of tag sequences by whole spans, as seqeval computes them (default mode and strict IOB2).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "qdqbert/base/json.h"

namespace qdqbert::tasks {

enum class TagScheme {
  /// The rules of the conlleval script: B- always begins a span, I- does so after O or another type.
  kLenient,
  /// Spans begin with B- only; other prefixes than B, I, O are refused.
  kStrictIob2,
};

struct SpanScore {
  double precision = 0, recall = 0, f1 = 0;  ///< 0 where the denominator is
  int64_t number = 0;                        ///< spans in the references
};

struct SequenceScore {
  std::vector<std::pair<std::string, SpanScore>> types;  ///< by name; those of references and predictions
  SpanScore overall;                                     ///< micro average
  double accuracy = 0;                                   ///< share of equal tags

  /// {type: {precision, recall, f1, number}, ..., overall_precision,
  /// overall_recall, overall_f1, overall_accuracy}
  Json to_json() const;
};

using TagSequences = std::vector<std::vector<std::string>>;

/// One list of tags per sentence; a span counts where type, begin and end agree. Throws InputError
/// for another number of sentences or tags on the two sides, for no tags at all, an empty tag,
/// and a prefix that the scheme does not have.
SequenceScore score_sequences(const TagSequences& references, const TagSequences& predictions,
                              TagScheme scheme = TagScheme::kLenient);

}  // namespace qdqbert::tasks
