// Tagged words to model inputs, and logits of tokens back to tags of words.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/json.h"
#include "qdqbert/tasks/label_map.h"
#include "qdqbert/tasks/tag_dataset.h"
#include "qdqbert/tasks/token_rows.h"

namespace qdqbert::tasks {

/// What loss and metric leave out.
constexpr int64_t kIgnoredLabel = -100;

struct TagFeatureOptions {
  int max_length = 512;
  /// Label every piece of a word (B- becomes I- behind the first one where
  /// the labels have it), not only the first.
  bool label_all_tokens = false;
};

struct TagFeatures {
  TokenRows rows;
  std::vector<std::vector<int32_t>> word_ids;  ///< by row and token: word, -1 for [CLS] and [SEP]
  std::vector<std::vector<int64_t>> labels;    ///< by row and token, kIgnoredLabel where there is none
  size_t cut_words = 0;                        ///< words that did not fit max_length

  /// One feature per sentence; its words beyond max_length are cut. Labels are left empty where the data has
  /// none. Throws InputError naming file and line for a tag that `labels` lacks.
  static TagFeatures build(const TagData& data, const LabelMap& labels, const text::Tokenizer& tokenizer,
                           const TagFeatureOptions& options, int threads = 1);
};

/// The number of the I- form of each B- label that has one, of others the label itself.
std::vector<int64_t> inside_labels(const LabelMap& labels);

struct TagPrediction {
  /// Of every word; "O" (or the first label) for cut words and words without piece.
  std::vector<std::string> tags;
  std::vector<uint8_t> covered;       ///< whether the word had a piece in the feature
  std::vector<double> probabilities;  ///< of the tag; 0 where not covered
};

/// The tag of a word is the label with the largest logit at its first piece.
/// `logits` are [tokens][labels] of one row, without padding.
TagPrediction predict_tags(const TagFeatures& features, size_t row, size_t words,
                           std::span<const float> logits, const LabelMap& labels);

/// Entity precision, recall and F1 as seqeval's default gives them, over the covered words
/// as the public example does: {precision, recall, f1, accuracy}, with `by_type` also
/// {type: {precision, recall, f1, number}}. The data's tags count under the names that `labels` has for them.
Json tag_metrics(const TagData& data, const LabelMap& labels, const std::vector<TagPrediction>& predictions,
                 bool by_type = false);

/// The tags, of the data and predicted, that the score takes for something else than they are: see
/// tags_without_position().
std::vector<std::string> doubtful_tags(const TagData& data, const LabelMap& labels,
                                       const std::vector<TagPrediction>& predictions);

/// `<prefix>_predictions.txt` (the tags of a sentence on a line, separated by spaces) and
/// `<prefix>_entities.jsonl` (words, tags, entities as EntityDecoder finds them among the covered words, with
/// type, text, first and last word, and offsets in code points of the words joined by spaces).
void write_tag_predictions(const std::filesystem::path& directory, const std::string& prefix,
                           const TagData& data, const LabelMap& labels,
                           const std::vector<TagPrediction>& predictions);

}  // namespace qdqbert::tasks
