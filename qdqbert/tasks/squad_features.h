// SQuAD examples to model inputs: [CLS] question [SEP] window of the context [SEP], one feature per window.
//
// Texts are tokenized once each; a feature is a reference to its question, its context and a window, and its
// rows are written where they are needed. The whole training set takes tens of megabytes this way.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qdqbert/base/log.h"
#include "qdqbert/tasks/squad_dataset.h"
#include "qdqbert/text/tokenizer.h"

namespace qdqbert::tasks {

struct FeatureOptions {
  int max_length = 384;  ///< tokens of a feature, special tokens included
  int stride = 128;      ///< tokens that consecutive windows share
  /// Decides the labels of answers in a window's last token (see start_position).
  bool pad_to_max_length = true;
  /// Label an answer that begins in the last token of its window with that token. The original's scan runs on
  /// to the last index of the feature there.
  bool fix_labels = false;
  bool labels = true;  ///< false: no start and end positions
};

/// One row of model inputs. Columns: padding on the left (if the tokenizer pads left), [CLS], first text,
/// [SEP], second text, [SEP], padding on the right.
struct SquadFeature {
  uint32_t example = 0;
  uint32_t window_begin = 0, window_end = 0;  ///< tokens of the context
  uint32_t length = 0;                        ///< tokens without padding
  int32_t start_position = 0, end_position = 0;
};

class SquadFeatures {
 public:
  /// Features in the order of examples and windows. Throws InputError, naming the question, where the
  /// original fails: no room for the context, a stride that leaves no progress, with labels also an answer in
  /// a context without tokens or ending before the first character.
  static SquadFeatures build(const std::vector<SquadExample>& examples, const text::Tokenizer& tokenizer,
                             const FeatureOptions& options, int threads = 1,
                             const ProgressSink& progress = {});

  size_t size() const { return features_.size(); }
  const SquadFeature& operator[](size_t i) const { return features_[i]; }
  /// Width of a row: max_length when padded to it, else the feature's own length.
  size_t width(size_t i) const {
    return options_.pad_to_max_length ? static_cast<size_t>(options_.max_length) : features_[i].length;
  }
  /// False when the tokenizer pads on the left; rows narrower than width(i) are impossible then.
  bool pads_right() const { return pads_right_; }
  /// Keeps the first `count` features.
  void truncate(size_t count);

  /// Writes row i into `width` columns (at least its length; only right padding may differ from width(i)).
  void fill(size_t i, std::span<int64_t> input_ids, std::span<int64_t> attention_mask,
            std::span<int64_t> token_type_ids) const;

  /// One offset per column of width(i); `is_context` (same size) says which belong to
  /// the context. Added tokens have [0, 0).
  void offsets(size_t i, std::vector<text::Offset>& offsets, std::vector<uint8_t>& is_context) const;

 private:
  struct Row;
  Row row(size_t i) const;
  void label(SquadFeature& feature, const SquadExample& example) const;
  FeatureOptions options_;
  bool pads_right_ = true;
  int32_t cls_ = 0, sep_ = 0, pad_ = 0;
  std::vector<text::Tokens> contexts_, questions_;
  std::vector<uint32_t> context_of_, question_of_;  ///< by example
  std::vector<SquadFeature> features_;
};

}  // namespace qdqbert::tasks
