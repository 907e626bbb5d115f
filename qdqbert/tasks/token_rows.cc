#include "qdqbert/tasks/token_rows.h"

#include <algorithm>

namespace qdqbert::tasks {

TokenRows::TokenRows(const text::Tokenizer& tokenizer)
    : pad_(tokenizer.pad_id()), pads_right_(tokenizer.options().padding_side == text::Side::kRight) {}

void TokenRows::add(const text::Encoding& encoding) {
  add(encoding.ids, encoding.type_ids);
}

void TokenRows::add(std::span<const int32_t> ids, std::span<const int32_t> type_ids) {
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  types_.insert(types_.end(), type_ids.begin(), type_ids.end());
  begin_.push_back(ids_.size());
}

size_t TokenRows::longest() const {
  size_t longest = 0;
  for (size_t row = 0; row < size(); ++row) longest = std::max(longest, length(row));
  return longest;
}

void TokenRows::truncate(size_t count) {
  if (count >= size()) return;
  begin_.resize(count + 1);
  ids_.resize(begin_.back());
  types_.resize(begin_.back());
}

void TokenRows::fill(size_t row, std::span<int64_t> input_ids, std::span<int64_t> attention_mask,
                     std::span<int64_t> token_type_ids) const {
  std::fill(input_ids.begin(), input_ids.end(), pad_);
  std::fill(attention_mask.begin(), attention_mask.end(), 0);
  std::fill(token_type_ids.begin(), token_type_ids.end(), 0);
  const auto first = static_cast<std::ptrdiff_t>(first_column(row, input_ids.size()));
  std::copy_n(ids(row).begin(), length(row), input_ids.begin() + first);
  std::copy_n(type_ids(row).begin(), length(row), token_type_ids.begin() + first);
  std::fill_n(attention_mask.begin() + first, length(row), 1);
}

TokenRows encode_rows(const text::Tokenizer& tokenizer, const std::vector<std::string>& first,
                      const std::vector<std::string>& second, int max_length, int threads) {
  text::EncodeOptions options;
  options.truncation = text::Truncation::kLongestFirst;
  options.max_length = max_length;
  const text::Batch batch = text::encode(tokenizer, first, second, options, threads);
  TokenRows rows(tokenizer);
  for (const text::Encoding& encoding : batch.features) rows.add(encoding);
  return rows;
}

}  // namespace qdqbert::tasks
