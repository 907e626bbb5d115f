#include "qdqbert/pipeline/span_model.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/check_finite.h"

namespace qdqbert::pipeline {

namespace {

/// Outputs for one text of three tokens: what the shapes look like.
std::vector<engine::Output> probe(const engine::Session& session) {
  const std::vector<int32_t> ids(3, 0);
  engine::PaddedBatch<int32_t> batch;
  batch.batch = 1;
  batch.length = ids.size();
  batch.input_ids = ids;
  return session.run(batch);
}

std::string outputs_text(const std::vector<engine::Output>& outputs) {
  std::string text;
  for (const engine::Output& output : outputs)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", output.name, to_string(output.shape));
  return text;
}

}  // namespace

std::vector<std::vector<size_t>> batches_by_tokens(std::span<const size_t> lengths, size_t budget,
                                                   bool padding) {
  std::vector<size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (padding)
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return lengths[a] > lengths[b]; });
  std::vector<std::vector<size_t>> batches;
  size_t used = 0, widest = 0;
  for (const size_t row : order) {
    const size_t width = padding ? std::max(widest, lengths[row]) : lengths[row];
    const size_t with = padding && !batches.empty() ? width * (batches.back().size() + 1) : used + width;
    if (batches.empty() || with > budget) {
      batches.emplace_back();
      used = 0;
      widest = 0;
    }
    batches.back().push_back(row);
    used += lengths[row];
    widest = std::max(widest, lengths[row]);
  }
  return batches;
}

std::vector<std::vector<size_t>> without_seen_padding(std::span<const size_t> lengths,
                                                      const engine::Session& session) {
  std::map<size_t, std::vector<size_t>> by_length;
  for (size_t row = 0; row < lengths.size(); ++row)
    by_length[session.hides_padding() ? 0 : lengths[row]].push_back(row);
  std::vector<std::vector<size_t>> groups;
  for (auto& [length, rows] : by_length) groups.push_back(std::move(rows));
  return groups;
}

SpanModel::SpanModel(const engine::Session& session, std::string name)
    : session_(session), name_(std::move(name)) {
  const std::vector<std::string>& names = session.output_names();
  const auto find = [&](const char* part) {
    return static_cast<size_t>(
        std::find_if(names.begin(), names.end(),
                     [&](const std::string& n) { return n.find(part) != std::string::npos; }) -
        names.begin());
  };
  start_ = find("start");
  end_ = find("end");
  // Names say nothing: the original takes the first two outputs.
  if (start_ == names.size() || end_ == names.size() || start_ == end_) {
    start_ = 0;
    end_ = 1;
  }
  const std::vector<engine::Output> outputs = probe(session);
  const auto a_number_per_token = [&](size_t output) {
    return output < outputs.size() && outputs[output].shape == Shape{1, 3};
  };
  if (names.size() < 2 || !a_number_per_token(start_) || !a_number_per_token(end_))
    fail(
        "[model] {} does not answer questions: a start and an end logit are needed for each token, the "
        "outputs for a text of 3 tokens are {}",
        name_, outputs_text(outputs));
}

std::vector<RowLogits> SpanModel::split(std::vector<engine::Output> outputs, std::span<const FeatureRow> rows,
                                        size_t width) const {
  std::vector<RowLogits> logits(rows.size());
  size_t packed = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    const size_t length = rows[r].length(), from = width > 0 ? r * width : packed;
    packed += length;
    const auto cut = [&](size_t output) {
      const std::vector<float>& values = outputs[output].values;
      if (from + length > values.size())
        fail("[model] {}: output {} has shape {}, too small for {} texts", name_, outputs[output].name,
             to_string(outputs[output].shape), rows.size());
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(from);
      engine::check_finite(std::span(values).subspan(from, length), name_, outputs[output].name);
      return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(length));
    };
    logits[r] = {cut(start_), cut(end_)};
  }
  return logits;
}

std::vector<RowLogits> SpanModel::run(std::span<const FeatureRow> rows) const {
  size_t widest = 0, total = 0;
  for (const FeatureRow& row : rows) {
    widest = std::max(widest, row.length());
    total += row.length();
  }
  if (!session_.packed()) return run_padded(rows, widest);
  std::vector<int64_t> ids(widest), mask(widest), types(widest);
  std::vector<int32_t> packed_ids, packed_types;
  std::vector<uint32_t> offsets = {0};
  packed_ids.reserve(total);
  packed_types.reserve(total);
  for (const FeatureRow& row : rows) {
    const auto head = [&](std::vector<int64_t>& values) { return std::span(values).first(row.length()); };
    row.features->fill(row.index, head(ids), head(mask), head(types));
    for (size_t t = 0; t < row.length(); ++t) {
      packed_ids.push_back(static_cast<int32_t>(ids[t]));
      packed_types.push_back(static_cast<int32_t>(types[t]));
    }
    offsets.push_back(static_cast<uint32_t>(packed_ids.size()));
  }
  engine::PackedTexts texts;
  texts.input_ids = packed_ids;
  texts.token_type_ids = packed_types;
  texts.offsets = offsets;
  return split(session_.run(texts), rows, 0);
}

std::vector<RowLogits> SpanModel::run_padded(std::span<const FeatureRow> rows, size_t width,
                                             double* seconds) const {
  double spent = 0;
  std::vector<size_t> lengths;
  for (const FeatureRow& row : rows) lengths.push_back(row.length());
  std::vector<RowLogits> logits(rows.size());
  for (const std::vector<size_t>& group : without_seen_padding(lengths, session_)) {
    std::vector<FeatureRow> together;
    for (const size_t r : group) together.push_back(rows[r]);
    const size_t columns = session_.hides_padding() ? width : together[0].length();
    std::vector<RowLogits> made = run_equal(together, columns, spent);
    for (size_t i = 0; i < group.size(); ++i) logits[group[i]] = std::move(made[i]);
  }
  if (seconds) *seconds = spent;
  return logits;
}

std::vector<RowLogits> SpanModel::run_equal(std::span<const FeatureRow> rows, size_t width,
                                            double& seconds) const {
  std::vector<int64_t> ids(rows.size() * width), mask(ids.size()), types(ids.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto part = [&](std::vector<int64_t>& values) {
      return std::span(values).subspan(r * width, width);
    };
    rows[r].features->fill(rows[r].index, part(ids), part(mask), part(types));
  }
  engine::PaddedBatch<int64_t> batch;
  batch.batch = rows.size();
  batch.length = width;
  batch.input_ids = ids;
  batch.attention_mask = mask;
  batch.token_type_ids = types;
  const auto start = std::chrono::steady_clock::now();
  std::vector<engine::Output> outputs = session_.run(batch);
  seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return split(std::move(outputs), rows, width);
}

}  // namespace qdqbert::pipeline
