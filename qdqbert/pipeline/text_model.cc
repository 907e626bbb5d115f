#include "qdqbert/pipeline/text_model.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/check_finite.h"
#include "qdqbert/pipeline/span_model.h"

namespace qdqbert::pipeline {

size_t find_output(const engine::Session& session, const std::string& model, const std::string& name) {
  const std::vector<std::string>& names = session.output_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  fail("[model] {} has no output {}, its outputs are {}", model, name, fmt::join(names, ", "));
}

TextModel::TextModel(const engine::Session& session, std::string name, const std::string& output,
                     bool by_token, size_t tokens_per_batch)
    : session_(session),
      name_(std::move(name)),
      output_(find_output(session, name_, output)),
      tokens_per_batch_(tokens_per_batch),
      by_token_(by_token) {
  text::Encoding probe;
  probe.ids = {0, 0, 0};
  probe.type_ids = {0, 0, 0};
  const text::Encoding* one = &probe;
  columns_ = run_batch({&one, 1}, {})[0].columns;
}

std::vector<TextOutput> TextModel::run(std::span<const text::Encoding* const> texts,
                                       const RunControl& control) const {
  return run_batches(texts, {}, control);
}

std::vector<TextOutput> TextModel::run_tokens(std::span<const text::Encoding* const> texts,
                                              std::span<const std::vector<uint32_t>> tokens,
                                              const RunControl& control) const {
  return run_batches(texts, tokens, control);
}

std::vector<TextOutput> TextModel::run_batches(std::span<const text::Encoding* const> texts,
                                               std::span<const std::vector<uint32_t>> tokens,
                                               const RunControl& control) const {
  std::vector<size_t> lengths;
  for (const text::Encoding* text : texts) lengths.push_back(text->ids.size());
  std::vector<TextOutput> outputs(texts.size());
  size_t done = 0;
  for (const std::vector<size_t>& batch : batches_by_tokens(lengths, tokens_per_batch_, !session_.packed())) {
    control.check();
    std::vector<size_t> of_batch;
    for (const size_t i : batch) of_batch.push_back(lengths[i]);
    for (const std::vector<size_t>& group : without_seen_padding(of_batch, session_)) {
      std::vector<const text::Encoding*> together;
      std::vector<const std::vector<uint32_t>*> places;
      for (const size_t i : group) {
        together.push_back(texts[batch[i]]);
        if (!tokens.empty()) places.push_back(&tokens[batch[i]]);
      }
      std::vector<TextOutput> made = run_batch(together, places);
      for (size_t i = 0; i < group.size(); ++i) outputs[batch[group[i]]] = std::move(made[i]);
    }
    control.report("running", done += batch.size(), texts.size());
  }
  return outputs;
}

std::vector<TextOutput> TextModel::run_batch(std::span<const text::Encoding* const> texts,
                                             std::span<const std::vector<uint32_t>* const> places) const {
  size_t width = 0, tokens = 0;
  for (const text::Encoding* text : texts) {
    width = std::max(width, text->ids.size());
    tokens += text->ids.size();
  }
  // A text is one choice here: which of them belong together is for those who read the scores.
  const size_t choices = session_.by_choices() ? 1 : 0;
  const bool packed = session_.packed();
  std::vector<engine::Output> all;
  std::vector<int32_t> ids, types, mask;
  std::vector<uint32_t> wanted;
  if (packed) {
    std::vector<uint32_t> offsets = {0};
    for (const text::Encoding* text : texts) {
      ids.insert(ids.end(), text->ids.begin(), text->ids.end());
      types.insert(types.end(), text->type_ids.begin(), text->type_ids.end());
      offsets.push_back(static_cast<uint32_t>(ids.size()));
    }
    for (size_t b = 0; b < places.size(); ++b)
      for (const uint32_t place : *places[b]) wanted.push_back(offsets[b] + place);
    engine::PackedTexts batch{ids, types, offsets, choices, {}, {}, {}};
    batch.wanted = wanted;
    all = session_.run(batch);
  } else {
    for (auto* values : {&ids, &types, &mask}) values->assign(texts.size() * width, 0);
    for (size_t b = 0; b < texts.size(); ++b)
      for (size_t t = 0; t < texts[b]->ids.size(); ++t) {
        ids[b * width + t] = texts[b]->ids[t];
        types[b * width + t] = texts[b]->type_ids[t];
        mask[b * width + t] = 1;
      }
    all = session_.run(engine::PaddedBatch<int32_t>{texts.size(), width, ids, mask, types, choices});
  }
  const engine::Output& output = all.at(output_);
  // Whether the output has rows for the wanted tokens alone.
  const bool chosen = !wanted.empty() && !output.shape.empty() &&
                      output.shape[0] == static_cast<int64_t>(wanted.size()) && wanted.size() != tokens;
  const size_t rows = chosen      ? wanted.size()
                      : by_token_ ? (packed ? tokens : texts.size() * width)
                                  : texts.size();
  const size_t leading = by_token_ && !packed ? 2 : 1;  // axes that count rows
  size_t counted = 1;
  for (size_t i = 0; i < std::min(leading, output.shape.size()); ++i)
    counted *= static_cast<size_t>(output.shape[i]);
  if (output.shape.size() != leading + 1 || counted != rows)
    fail(
        "[model] {} does not fit the task: it needs a row of values for each {}, output {} of {} "
        "texts of {} tokens has shape {}",
        name_, by_token_ ? "token" : "text", output.name, texts.size(), tokens, to_string(output.shape));
  const auto columns = static_cast<size_t>(output.shape.back());
  std::vector<TextOutput> outputs(texts.size());
  size_t at = 0;
  for (size_t b = 0; b < texts.size(); ++b) {
    const size_t length = texts[b]->ids.size();
    const auto take = [&](size_t first, size_t count) {
      const auto begin = output.values.begin() + static_cast<std::ptrdiff_t>(first * columns);
      outputs[b].values.insert(outputs[b].values.end(), begin,
                               begin + static_cast<std::ptrdiff_t>(count * columns));
      engine::check_finite({&*begin, count * columns}, name_, output.name);
      outputs[b].rows += count;
    };
    outputs[b].columns = columns;
    if (chosen) {
      take(at, places[b]->size());
      at += places[b]->size();
      continue;
    }
    if (places.empty())
      take(at, by_token_ ? length : 1);
    else
      for (const uint32_t place : *places[b]) take(at + place, 1);
    at += !by_token_ ? 1 : packed ? length : width;
  }
  return outputs;
}

}  // namespace qdqbert::pipeline
