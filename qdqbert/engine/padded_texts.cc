#include "qdqbert/engine/padded_texts.h"

#include <algorithm>

#include "qdqbert/base/error.h"

namespace qdqbert::engine {

PaddedTexts::PaddedTexts(const PackedTexts& texts, size_t first, size_t count, size_t source_width)
    : choices_(texts.choices), rows_(count), wanted_(count) {
  const auto size_at = [](std::span<const uint32_t> offsets, size_t b) {
    return size_t{offsets[b + 1]} - offsets[b];
  };
  const bool sources = source_width > 0 && texts.encoder_offsets.size() == texts.offsets.size();
  for (size_t b = first; b < first + count; ++b) {
    length_ = std::max(length_, size_at(texts.offsets, b));
    if (sources) source_length_ = std::max(source_length_, size_at(texts.encoder_offsets, b));
  }
  for (auto* values : {&ids_, &types_, &mask_}) values->assign(count * length_, 0);
  states_.assign(count * source_length_ * source_width, 0.0f);
  source_mask_.assign(count * source_length_, 0);
  for (size_t i = 0; i < count; ++i) {
    const size_t begin = texts.offsets[first + i];
    for (size_t t = 0; t < size_at(texts.offsets, first + i); ++t) {
      ids_[i * length_ + t] = texts.input_ids[begin + t];
      types_[i * length_ + t] = texts.token_type_ids.empty() ? 0 : texts.token_type_ids[begin + t];
      mask_[i * length_ + t] = 1;
      rows_[i].push_back(t);
      const bool is_wanted =
          texts.wanted.empty() ||
          std::binary_search(texts.wanted.begin(), texts.wanted.end(), static_cast<uint32_t>(begin + t));
      if (is_wanted) wanted_[i].push_back(t);
    }
    for (size_t t = 0; sources && t < size_at(texts.encoder_offsets, first + i); ++t) {
      const auto row = texts.encoder_hidden_states.subspan(
          (texts.encoder_offsets[first + i] + t) * source_width, source_width);
      std::copy(row.begin(), row.end(),
                states_.begin() + static_cast<std::ptrdiff_t>((i * source_length_ + t) * source_width));
      source_mask_[i * source_length_ + t] = 1;
    }
  }
}

PaddedBatch<int32_t> PaddedTexts::batch() const {
  PaddedBatch<int32_t> batch{rows_.size(), length_, ids_, mask_, types_};
  batch.choices = choices_;
  batch.encoder_hidden_states = states_;
  batch.encoder_attention_mask = source_mask_;
  batch.encoder_length = source_length_;
  return batch;
}

void PaddedTexts::append(const std::vector<Output>& padded, const Plan& plan,
                         std::vector<Output>& all) const {
  all.resize(padded.size());
  for (size_t o = 0; o < padded.size(); ++o) {
    const PlanOutput& from = plan.outputs[o];
    const bool by_token = from.rows != RowKind::kTexts;
    const std::vector<float>& values = padded[o].values;
    const size_t columns = from.columns;
    if (values.size() != rows_.size() * (by_token ? length_ : 1) * columns)
      fail("[session] output {} has shape {} for {} texts of {} tokens", padded[o].name,
           to_string(padded[o].shape), rows_.size(), length_);
    Output& to = all[o];
    size_t rows = by_token ? 0 : rows_.size();
    if (!by_token) {
      to.values.insert(to.values.end(), values.begin(), values.end());
    } else {
      for (size_t i = 0; i < rows_.size(); ++i)
        for (const size_t t : from.rows == RowKind::kWanted ? wanted_[i] : rows_[i]) {
          const auto row = values.begin() + static_cast<std::ptrdiff_t>((i * length_ + t) * columns);
          to.values.insert(to.values.end(), row, row + static_cast<std::ptrdiff_t>(columns));
          ++rows;
        }
    }
    if (from.by_choices) rows /= choices_;
    if (to.name.empty()) {
      to.name = padded[o].name;
      to.shape = {0};
      if (from.one_position) to.shape.push_back(1);
      if (from.by_choices)
        to.shape.push_back(static_cast<int64_t>(choices_));
      else if (from.keeps_columns)
        to.shape.push_back(static_cast<int64_t>(columns));
    }
    to.shape[0] += static_cast<int64_t>(rows);
  }
}

}  // namespace qdqbert::engine
