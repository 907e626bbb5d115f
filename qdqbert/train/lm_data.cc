#include "qdqbert/train/lm_data.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/tasks/classification_metrics.h"
#include "qdqbert/tasks/tag_features.h"

namespace qdqbert::train {

namespace {

/// The masks of evaluations: those of no batch of training.
constexpr uint64_t kEvaluation = std::numeric_limits<uint64_t>::max();

}  // namespace

LmData::LmData(tasks::LmBlocks blocks, Objective objective, const tasks::MaskingOptions& masking,
               const TaskContext& context)
    : tokenizer_(context.tokenizer), blocks_(std::move(blocks)), objective_(objective), masking_(masking) {
  set_rows(blocks_.rows, context);
}

tasks::MaskedRow LmData::masked(size_t row, uint64_t epoch) const {
  return tasks::mask_row(blocks_, row, epoch, tokenizer_, masking_);
}

model::ModelInputs LmData::inputs(std::span<const int64_t> samples, int64_t width) const {
  model::ModelInputs out = RowData::inputs(samples, width);
  if (objective_ == Objective::kCausal) return out;
  for (size_t r = 0; r < samples.size(); ++r) {
    const auto row = static_cast<size_t>(samples[r]), columns = static_cast<size_t>(width);
    const tasks::MaskedRow masking = masked(row, kEvaluation);
    std::copy(masking.ids.begin(), masking.ids.end(),
              out.input_ids.data_ptr<int64_t>() + r * columns + rows().first_column(row, columns));
  }
  return out;
}

model::ModelInputs LmData::batch(std::span<const int64_t> samples, int64_t micro_step) {
  const int64_t width = batch_width(samples);
  const auto columns = static_cast<size_t>(width);
  model::ModelInputs out = RowData::inputs(samples, width);
  out.labels = at::full({static_cast<int64_t>(samples.size()), width}, tasks::kIgnoredLabel, at::kLong);
  for (size_t r = 0; r < samples.size(); ++r) {
    const auto row = static_cast<size_t>(samples[r]);
    const size_t first = r * columns + rows().first_column(row, columns);
    int64_t* labels = out.labels.data_ptr<int64_t>() + first;
    if (objective_ == Objective::kCausal) {
      std::copy(rows().ids(row).begin(), rows().ids(row).end(), labels);
      continue;
    }
    const tasks::MaskedRow masking = masked(row, static_cast<uint64_t>(micro_step));
    std::copy(masking.labels.begin(), masking.labels.end(), labels);
    std::copy(masking.ids.begin(), masking.ids.end(), out.input_ids.data_ptr<int64_t>() + first);
  }
  // The mean over no token at all is no number; one that is certain to be predicted stands in.
  if (objective_ == Objective::kMasked && (out.labels == tasks::kIgnoredLabel).all().item<bool>())
    out.labels.data_ptr<int64_t>()[rows().first_column(static_cast<size_t>(samples[0]), columns)] =
        tokenizer_.cls_id();
  return out;
}

std::optional<double> LmData::chance_loss(const model::ModelInputs&) const {
  return std::log(static_cast<double>(tokenizer_.vocabulary().size()));
}

void LmData::begin_evaluation(bool) {
  loss_ = {};
  correct_ = 0;
  predicted_.assign(rows().size(), {});
}

void LmData::collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) {
  const at::Tensor logits = outputs.logits.to(at::kFloat).contiguous();
  const auto width = static_cast<size_t>(logits.size(1)), vocabulary = static_cast<size_t>(logits.size(2));
  for (size_t r = 0; r < samples.size(); ++r) {
    const auto row = static_cast<size_t>(samples[r]);
    const size_t first = rows().first_column(row, width);
    std::vector<int64_t> labels(rows().length(row), tasks::kIgnoredLabel);
    if (objective_ == Objective::kMasked)
      labels = masked(row, kEvaluation).labels;
    else
      std::copy(rows().ids(row).begin() + 1, rows().ids(row).end(), labels.begin());
    predicted_[row].assign(labels.size(), -1);
    for (size_t t = 0; t < labels.size(); ++t) {
      if (labels[t] == tasks::kIgnoredLabel) continue;
      const std::span<const float> at(logits.data_ptr<float>() + (r * width + first + t) * vocabulary,
                                      vocabulary);
      const double loss = negative_log_likelihood(at, static_cast<size_t>(labels[t]));
      if (std::isnan(loss)) fail("[lm] the logits of block {} are not numbers", row);
      loss_.add(loss);
      predicted_[row][t] = static_cast<int32_t>(std::max_element(at.begin(), at.end()) - at.begin());
      correct_ += predicted_[row][t] == labels[t];
    }
  }
}

Json LmData::metrics() const {
  if (loss_.count == 0) fail("[metric] no token was to be predicted; there is too little text");
  const double loss = loss_.mean();
  const double perplexity = std::exp(loss);
  return {{"loss", loss},
          {"perplexity", std::isfinite(perplexity) ? Json(perplexity) : Json("Infinity")},
          {"accuracy", static_cast<double>(correct_) / static_cast<double>(loss_.count)},
          {"predicted_tokens", loss_.count}};
}

void LmData::write_predictions(const std::filesystem::path& directory, const std::string& prefix) const {
  std::string lines;
  for (size_t row = 0; row < rows().size(); ++row) {
    std::vector<int32_t> shown;
    if (objective_ == Objective::kMasked)
      shown = masked(row, kEvaluation).ids;
    else
      shown.assign(rows().ids(row).begin(), rows().ids(row).end());
    Json filled = Json::array();
    for (size_t t = 0; t < predicted_[row].size(); ++t) {
      if (predicted_[row][t] < 0) continue;
      const size_t asked = objective_ == Objective::kMasked ? t : t + 1;
      filled.push_back({{"token", asked},
                        {"original", tokenizer_.vocabulary().token(rows().ids(row)[asked])},
                        {"predicted", tokenizer_.vocabulary().token(predicted_[row][t])}});
    }
    const Json line = {{"text", tokenizer_.decode(shown, false, true)}, {"predictions", filled}};
    lines += dump_json(line, {.indent = -1, .ascii = false}) + "\n";
  }
  write_file(directory / (prefix + "_predictions.jsonl"), lines);
}

NextSentenceData::NextSentenceData(std::vector<tasks::SentencePair> pairs, const TaskContext& context)
    : pairs_(std::move(pairs)) {
  std::vector<std::string> first, second;
  for (const tasks::SentencePair& pair : pairs_) {
    first.push_back(pair.first);
    second.push_back(pair.second);
  }
  set_rows(tasks::encode_rows(context.tokenizer, first, second, static_cast<int>(context.max_length),
                              context.threads),
           context);
}

model::ModelInputs NextSentenceData::batch(std::span<const int64_t> samples, int64_t) {
  model::ModelInputs out = inputs(samples, batch_width(samples));
  out.labels = at::empty({static_cast<int64_t>(samples.size())}, at::kLong);
  for (size_t r = 0; r < samples.size(); ++r)
    out.labels.data_ptr<int64_t>()[r] = pairs_[static_cast<size_t>(samples[r])].label;
  return out;
}

std::optional<double> NextSentenceData::chance_loss(const model::ModelInputs&) const {
  return std::log(2.0);
}

void NextSentenceData::begin_evaluation(bool) {
  logits_.assign(2 * pairs_.size(), 0);
}

void NextSentenceData::collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) {
  const at::Tensor logits = outputs.logits.to(at::kFloat).contiguous();
  for (size_t r = 0; r < samples.size(); ++r)
    std::copy_n(logits.data_ptr<float>() + 2 * r, 2, logits_.begin() + 2 * samples[r]);
}

bool NextSentenceData::scored() const {
  return std::all_of(pairs_.begin(), pairs_.end(), [](const auto& pair) { return pair.label >= 0; });
}

Json NextSentenceData::metrics() const {
  MeanLoss loss;
  double right = 0;
  for (size_t p = 0; p < pairs_.size(); ++p) {
    const std::span<const float> row(logits_.data() + 2 * p, 2);
    loss.add(negative_log_likelihood(row, static_cast<size_t>(pairs_[p].label)));
    right += (row[1] > row[0]) == (pairs_[p].label == 1);
  }
  return {{"accuracy", right / static_cast<double>(pairs_.size())}, {"loss", loss.mean()}};
}

void NextSentenceData::write_predictions(const std::filesystem::path& directory,
                                         const std::string& prefix) const {
  std::string lines;
  for (size_t p = 0; p < pairs_.size(); ++p) {
    const double odds = static_cast<double>(logits_[2 * p + 1]) - logits_[2 * p];
    const Json line = {{"first", pairs_[p].first},
                       {"second", pairs_[p].second},
                       {"follows", odds <= 0},
                       {"score", 1 / (1 + std::exp(odds))}};
    lines += dump_json(line, {.indent = -1, .ascii = false}) + "\n";
  }
  write_file(directory / (prefix + "_predictions.jsonl"), lines);
}

}  // namespace qdqbert::train
