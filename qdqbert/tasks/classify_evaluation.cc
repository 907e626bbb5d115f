#include "qdqbert/tasks/classify_evaluation.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/tasks/classification_metrics.h"
#include "qdqbert/tasks/regression_metrics.h"

namespace qdqbert::tasks {

namespace {

std::vector<double> softmax(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> out(logits.begin(), logits.end());
  double sum = 0;
  for (double& v : out) sum += v = std::exp(v - largest);
  for (double& v : out) v /= sum;
  return out;
}

ClassifyPrediction predict_row(std::span<const float> row, ClassifyKind kind) {
  ClassifyPrediction out;
  switch (kind) {
    case ClassifyKind::kSingleLabel:
      out.labels = {std::max_element(row.begin(), row.end()) - row.begin()};
      out.scores = softmax(row);
      break;
    case ClassifyKind::kMultiLabel:
      for (size_t i = 0; i < row.size(); ++i) {
        if (row[i] > 0) out.labels.push_back(static_cast<int64_t>(i));
        out.scores.push_back(1 / (1 + std::exp(-static_cast<double>(row[i]))));
      }
      break;
    case ClassifyKind::kRegression:
      out.scores = {row[0]};
      break;
  }
  return out;
}

Json single_label_metrics(std::span<const int64_t> references, std::span<const int64_t> predictions,
                          size_t label_count) {
  const ClassificationScore score = score_classification(references, predictions);
  Json metrics = {{"accuracy", score.accuracy}};
  if (label_count == 2) metrics["f1"] = score.f1_of(1);
  metrics["f1_macro"] = score.f1_macro;
  metrics["f1_micro"] = score.f1_micro;
  metrics["f1_weighted"] = score.f1_weighted;
  metrics["matthews_correlation"] = score.matthews_correlation;
  return metrics;
}

Json several_label_metrics(const std::vector<std::vector<int64_t>>& references,
                           const std::vector<std::set<int64_t>>& predictions, size_t label_count) {
  std::vector<double> both(label_count), actual(label_count), predicted(label_count);
  double right = 0;
  for (size_t i = 0; i < references.size(); ++i) {
    const std::set<int64_t> truth(references[i].begin(), references[i].end());
    for (const int64_t label : truth) ++actual[static_cast<size_t>(label)];
    for (const int64_t label : predictions[i]) {
      ++predicted[static_cast<size_t>(label)];
      both[static_cast<size_t>(label)] += truth.contains(label);
    }
    right += truth == predictions[i];
  }
  // F1 = 2 TP / (predicted + actual), 0 where the label occurs on neither side.
  double hits = 0, sizes = 0, sum = 0;
  for (size_t l = 0; l < label_count; ++l) {
    const double size = predicted[l] + actual[l];
    if (size > 0) sum += 2 * both[l] / size;
    hits += 2 * both[l];
    sizes += size;
  }
  return {{"accuracy", right / static_cast<double>(references.size())},
          {"f1_micro", sizes > 0 ? hits / sizes : 0},
          {"f1_macro", sum / static_cast<double>(label_count)}};
}

Json regression_metrics(const ClassifyData& data, const std::vector<ClassifyPrediction>& predictions) {
  std::vector<double> references, values;
  for (size_t i = 0; i < predictions.size(); ++i) {
    references.push_back(data.examples[i].value);
    values.push_back(predictions[i].scores[0]);
  }
  const auto or_null = [](double value) { return std::isnan(value) ? Json() : Json(value); };
  Json metrics = {{"mse", mean_squared_error(references, values)}};
  if (values.size() < 2) return metrics;
  metrics["pearson"] = or_null(pearson_correlation(references, values));
  metrics["spearmanr"] = or_null(spearman_correlation(references, values));
  return metrics;
}

}  // namespace

std::vector<ClassifyPrediction> classify_predictions(std::span<const float> logits, size_t width,
                                                     ClassifyKind kind) {
  if (width == 0 || logits.size() % width != 0 || (kind == ClassifyKind::kRegression && width != 1))
    fail("[classify] {} logits do not make rows of {} values", logits.size(), width);
  std::vector<ClassifyPrediction> predictions;
  for (size_t row = 0; row < logits.size() / width; ++row) {
    const auto values = logits.subspan(row * width, width);
    if (std::any_of(values.begin(), values.end(), [](float v) { return std::isnan(v); }))
      fail("[classify] the logits of example {} are not numbers", row);
    predictions.push_back(predict_row(values, kind));
  }
  return predictions;
}

std::vector<int64_t> label_ids(const ClassifyData& data, const ClassifyExample& example,
                               const LabelMap& labels) {
  std::vector<int64_t> ids;
  for (const std::string& label : example.labels) ids.push_back(labels.id(label, data.where(example)));
  return ids;
}

Json classify_metrics(const ClassifyData& data, const LabelMap& labels,
                      const std::vector<ClassifyPrediction>& predictions) {
  if (predictions.size() != data.examples.size())
    fail("[metric] {} examples, {} predictions", data.examples.size(), predictions.size());
  if (predictions.empty()) fail("[metric] there is nothing to score");
  if (data.kind == ClassifyKind::kRegression) return regression_metrics(data, predictions);
  std::vector<std::vector<int64_t>> references;
  for (const ClassifyExample& example : data.examples) references.push_back(label_ids(data, example, labels));
  std::vector<std::set<int64_t>> by_name;  // a label that stands twice is one
  for (const ClassifyPrediction& prediction : predictions) {
    std::set<int64_t>& ids = by_name.emplace_back();
    for (const int64_t id : prediction.labels) ids.insert(labels.canonical(id));
  }
  if (data.kind == ClassifyKind::kMultiLabel)
    return several_label_metrics(references, by_name, labels.size());
  std::vector<int64_t> truth, predicted;
  for (size_t i = 0; i < predictions.size(); ++i) {
    truth.push_back(references[i].at(0));
    predicted.push_back(*by_name[i].begin());
  }
  return single_label_metrics(truth, predicted, labels.size());
}

void write_classify_predictions(const std::filesystem::path& directory, const std::string& prefix,
                                const ClassifyData& data, const LabelMap& labels,
                                const std::vector<ClassifyPrediction>& predictions) {
  std::string table = "index\tprediction\n", lines;
  for (size_t i = 0; i < predictions.size(); ++i) {
    const ClassifyPrediction& prediction = predictions[i];
    Json line = {{"text", data.examples[i].first}};
    if (data.pairs) line["second"] = data.examples[i].second;
    if (data.kind == ClassifyKind::kRegression) {
      table += fmt::format("{}\t{:3.3f}\n", i, prediction.scores[0]);
      line["value"] = prediction.scores[0];
    } else {
      Json names = Json::array(), scores = Json::object();
      for (const int64_t label : prediction.labels) names.push_back(labels.name(label));
      for (size_t l = 0; l < prediction.scores.size(); ++l) {
        const std::string& name = labels.name(static_cast<int64_t>(l));
        scores[name] = std::max(prediction.scores[l], scores.value(name, 0.0));
      }
      const bool one = data.kind == ClassifyKind::kSingleLabel;
      table +=
          fmt::format("{}\t{}\n", i,
                      one ? names[0].get<std::string>() : dump_json(names, {.indent = -1, .ascii = false}));
      line[one ? "label" : "labels"] = one ? names[0] : names;
      line["scores"] = scores;
    }
    lines += dump_json(line, {.indent = -1, .ascii = false}) + "\n";
  }
  write_file(directory / (prefix + "_results.txt"), table);
  write_file(directory / (prefix + "_predictions.jsonl"), lines);
}

}  // namespace qdqbert::tasks
