// Token ids of many inputs without padding, and how they become rows of a batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qdqbert/text/encoding.h"

namespace qdqbert::tasks {

class TokenRows {
 public:
  TokenRows() = default;
  /// Padding id and side of the tokenizer.
  explicit TokenRows(const text::Tokenizer& tokenizer);

  void add(const text::Encoding& encoding);
  void add(std::span<const int32_t> ids, std::span<const int32_t> type_ids);

  size_t size() const { return begin_.size() - 1; }
  size_t length(size_t row) const { return begin_[row + 1] - begin_[row]; }
  /// Of the longest row.
  size_t longest() const;
  std::span<const int32_t> ids(size_t row) const { return {ids_.data() + begin_[row], length(row)}; }
  std::span<const int32_t> type_ids(size_t row) const { return {types_.data() + begin_[row], length(row)}; }
  /// Column of a row's first token among `width` columns.
  size_t first_column(size_t row, size_t width) const { return pads_right_ ? 0 : width - length(row); }
  int32_t pad_id() const { return pad_; }
  bool pads_right() const { return pads_right_; }
  /// Keeps the first `count` rows.
  void truncate(size_t count);

  /// Writes a row into spans of equal size, at least its length;
  /// columns without a token hold the padding id and mask 0.
  void fill(size_t row, std::span<int64_t> input_ids, std::span<int64_t> attention_mask,
            std::span<int64_t> token_type_ids) const;

 private:
  int32_t pad_ = 0;
  bool pads_right_ = true;
  std::vector<int32_t> ids_, types_;
  std::vector<size_t> begin_{0};
};

/// Features of texts (or pairs; `second` empty: none) cut to `max_length` tokens, the longer text first.
TokenRows encode_rows(const text::Tokenizer& tokenizer, const std::vector<std::string>& first,
                      const std::vector<std::string>& second, int max_length, int threads);

}  // namespace qdqbert::tasks
