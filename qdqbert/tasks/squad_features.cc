#include "qdqbert/tasks/squad_features.h"

#include <algorithm>
#include <unordered_map>

#include "qdqbert/base/error.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/text/encoding.h"

namespace qdqbert::tasks {

using text::Offset;
using text::Tokens;

/// Columns of one row: what lies where.
struct SquadFeatures::Row {
  const Tokens* first;
  const Tokens* second;
  text::Window first_window, second_window;
  size_t padding_left, first_begin, second_begin, context_begin, context_end, width;
  bool second_is_context;
};

SquadFeatures::Row SquadFeatures::row(size_t i) const {
  const SquadFeature& f = features_[i];
  const Tokens& question = questions_[question_of_[f.example]];
  const Tokens& context = contexts_[context_of_[f.example]];
  const text::Window window{f.window_begin, f.window_end}, whole{0, question.size()};
  Row r;
  r.second_is_context = pads_right_;
  r.first = pads_right_ ? &question : &context;
  r.second = pads_right_ ? &context : &question;
  r.first_window = pads_right_ ? whole : window;
  r.second_window = pads_right_ ? window : whole;
  r.width = width(i);
  r.padding_left = pads_right_ ? 0 : r.width - f.length;
  r.first_begin = r.padding_left + 1;
  r.second_begin = r.first_begin + (r.first_window.end - r.first_window.begin) + 1;
  r.context_begin = pads_right_ ? r.second_begin : r.first_begin;
  r.context_end = r.context_begin + (f.window_end - f.window_begin);
  return r;
}

void SquadFeatures::fill(size_t i, std::span<int64_t> input_ids, std::span<int64_t> attention_mask,
                         std::span<int64_t> token_type_ids) const {
  const Row r = row(i);
  std::fill(input_ids.begin(), input_ids.end(), pad_);
  std::fill(attention_mask.begin(), attention_mask.end(), 0);
  std::fill(token_type_ids.begin(), token_type_ids.end(), 0);
  size_t at = r.padding_left;
  const auto put = [&](int64_t id, int64_t type) {
    input_ids[at] = id;
    attention_mask[at] = 1;
    token_type_ids[at] = type;
    ++at;
  };
  put(cls_, 0);
  for (size_t t = r.first_window.begin; t < r.first_window.end; ++t) put(r.first->ids[t], 0);
  put(sep_, 0);
  for (size_t t = r.second_window.begin; t < r.second_window.end; ++t) put(r.second->ids[t], 1);
  put(sep_, 1);
}

void SquadFeatures::offsets(size_t i, std::vector<Offset>& offsets, std::vector<uint8_t>& is_context) const {
  const Row r = row(i);
  offsets.assign(r.width, {});
  is_context.assign(r.width, 0);
  std::copy(r.first->offsets.begin() + static_cast<std::ptrdiff_t>(r.first_window.begin),
            r.first->offsets.begin() + static_cast<std::ptrdiff_t>(r.first_window.end),
            offsets.begin() + static_cast<std::ptrdiff_t>(r.first_begin));
  std::copy(r.second->offsets.begin() + static_cast<std::ptrdiff_t>(r.second_window.begin),
            r.second->offsets.begin() + static_cast<std::ptrdiff_t>(r.second_window.end),
            offsets.begin() + static_cast<std::ptrdiff_t>(r.second_begin));
  std::fill(is_context.begin() + static_cast<std::ptrdiff_t>(r.context_begin),
            is_context.begin() + static_cast<std::ptrdiff_t>(r.context_end), 1);
}

/// The original's scan over the offsets of the whole row.
void SquadFeatures::label(SquadFeature& feature, const SquadExample& example) const {
  const Row r = row(static_cast<size_t>(&feature - features_.data()));
  const auto cls = static_cast<int32_t>(r.padding_left);
  feature.start_position = feature.end_position = cls;
  if (example.answers.empty()) return;
  const auto& answer = example.answers[0];
  const int64_t start = answer.start;
  const int64_t end = start + static_cast<int64_t>(count_code_points(answer.text));
  if (r.context_begin == r.context_end)
    fail("[features] question {}: the context has no tokens, yet there is an answer", example.id);
  const auto at = [&](size_t column) -> Offset {
    const size_t first_end = r.first_begin + (r.first_window.end - r.first_window.begin);
    const size_t second_end = r.second_begin + (r.second_window.end - r.second_window.begin);
    if (column >= r.first_begin && column < first_end)
      return r.first->offsets[r.first_window.begin + column - r.first_begin];
    if (column >= r.second_begin && column < second_end)
      return r.second->offsets[r.second_window.begin + column - r.second_begin];
    return {};
  };
  if (at(r.context_begin).begin > start || at(r.context_end - 1).end < end) return;
  if (end <= 0)
    fail("[features] question {}: the answer ends before the first character of the context", example.id);
  const size_t limit = options_.fix_labels ? r.context_end : r.width;
  size_t i = r.context_begin;
  while (i < limit && at(i).begin <= start) ++i;
  feature.start_position = static_cast<int32_t>(i) - 1;
  size_t j = r.context_end - 1;
  while (at(j).end >= end) --j;  // stops at [CLS] at the latest: its end is 0
  feature.end_position = static_cast<int32_t>(j) + 1;
}

SquadFeatures SquadFeatures::build(const std::vector<SquadExample>& examples,
                                   const text::Tokenizer& tokenizer, const FeatureOptions& options,
                                   int threads, const ProgressSink& progress) {
  SquadFeatures out;
  out.options_ = options;
  out.pads_right_ = tokenizer.options().padding_side == text::Side::kRight;
  out.cls_ = tokenizer.cls_id();
  out.sep_ = tokenizer.sep_id();
  out.pad_ = tokenizer.pad_id();

  std::unordered_map<const std::string*, uint32_t> known;
  std::vector<const std::string*> contexts;
  for (uint32_t e = 0; e < examples.size(); ++e) {
    const auto [found, added] =
        known.emplace(examples[e].context.get(), static_cast<uint32_t>(contexts.size()));
    if (added) contexts.push_back(found->first);
    out.context_of_.push_back(found->second);
    out.question_of_.push_back(e);
  }
  out.contexts_.resize(contexts.size());
  parallel_for(contexts.size(), 8, threads, [&](size_t begin, size_t end) {
    for (size_t c = begin; c < end; ++c) {
      out.contexts_[c] = tokenizer.tokenize(*contexts[c]);
      out.contexts_[c].ids.shrink_to_fit();
      out.contexts_[c].offsets.shrink_to_fit();
    }
  });

  text::EncodeOptions windows;
  windows.truncation = out.pads_right_ ? text::Truncation::kOnlySecond : text::Truncation::kOnlyFirst;
  windows.stride = options.stride;
  windows.return_overflow = true;
  std::vector<std::vector<SquadFeature>> per_example(examples.size());
  out.questions_.resize(examples.size());
  parallel_for(examples.size(), 64, threads, [&](size_t begin, size_t end) {
    for (size_t e = begin; e < end; ++e) {
      out.questions_[e] = tokenizer.tokenize(examples[e].question);
      const size_t question = out.questions_[e].size(), context = out.contexts_[out.context_of_[e]].size();
      const size_t n1 = out.pads_right_ ? question : context, n2 = out.pads_right_ ? context : question;
      try {
        for (const text::WindowPair& pair :
             text::make_windows(n1, n2, windows, options.max_length, tokenizer.options().truncation_side)) {
          const text::Window w = out.pads_right_ ? pair.second : pair.first;
          SquadFeature feature;
          feature.example = static_cast<uint32_t>(e);
          feature.window_begin = static_cast<uint32_t>(w.begin);
          feature.window_end = static_cast<uint32_t>(w.end);
          feature.length = static_cast<uint32_t>(question + (w.end - w.begin) + 3);
          per_example[e].push_back(feature);
        }
      } catch (const InputError& error) {
        fail("[features] question {}: {}", examples[e].id, error.what());
      }
    }
  });
  size_t total = 0;
  for (const auto& list : per_example) total += list.size();
  out.features_.reserve(total);
  for (auto& list : per_example) {
    out.features_.insert(out.features_.end(), list.begin(), list.end());
    std::vector<SquadFeature>().swap(list);
  }
  if (options.labels)
    parallel_for(out.features_.size(), 256, threads, [&](size_t begin, size_t end) {
      for (size_t f = begin; f < end; ++f) out.label(out.features_[f], examples[out.features_[f].example]);
    });
  if (progress)
    progress("tokenizing", static_cast<int64_t>(examples.size()), static_cast<int64_t>(examples.size()));
  return out;
}

void SquadFeatures::truncate(size_t count) {
  if (count < features_.size()) features_.resize(count);
}

}  // namespace qdqbert::tasks
