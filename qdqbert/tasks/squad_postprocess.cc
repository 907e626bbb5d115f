#include "qdqbert/tasks/squad_postprocess.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "qdqbert/base/dtype.h"
#include "qdqbert/base/error.h"
#include "qdqbert/base/utf8.h"

namespace qdqbert::tasks {

namespace {

/// Rounds to the type of the logits after each operation, as array arithmetic does.
float rounded(float value, LogitType type) {
  return type == LogitType::kFloat16 ? half_to_float(float_to_half(value)) : value;
}

struct Entry {
  text::Offset span;
  float score = 0, start = 0, end = 0;
  bool is_null = false;
};

/// Indices of the n largest values, descending; among equal values the larger index first.
std::vector<uint32_t> largest(std::span<const float> values, size_t n) {
  std::vector<uint32_t> out(values.size());
  std::iota(out.begin(), out.end(), 0u);
  n = std::min(n, out.size());
  const auto before = [&](uint32_t a, uint32_t b) {
    return values[a] != values[b] ? values[a] > values[b] : a > b;
  };
  std::partial_sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(n), out.end(), before);
  out.resize(n);
  return out;
}

/// As the original's array expressions: each step in the type of the scores (sums of half values are kept in
/// float), in double when the list holds the placeholder.
void softmax(std::vector<Candidate>& list, const std::vector<double>& scores, LogitType type,
             bool in_double) {
  const double top = *std::max_element(scores.begin(), scores.end());
  if (in_double) {
    double sum = 0;
    for (size_t i = 0; i < list.size(); ++i) sum += list[i].probability = std::exp(scores[i] - top);
    for (Candidate& candidate : list) candidate.probability /= sum;
    return;
  }
  float sum = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    const float e = rounded(std::exp(rounded(static_cast<float>(scores[i] - top), type)), type);
    list[i].probability = e;
    sum += e;
  }
  sum = rounded(sum, type);
  for (Candidate& candidate : list)
    candidate.probability = rounded(static_cast<float>(candidate.probability) / sum, type);
}

class Example {
 public:
  Example(const AnswerOptions& options, LogitType type) : options_(options), type_(type) {}

  void add(const AnswerFeature& feature, const FeatureLogits& logits) {
    const float null_score = rounded(logits.start[0] + logits.end[0], type_);
    if (!null_ || null_score < null_->score)
      null_ = Entry{{0, 0}, null_score, logits.start[0], logits.end[0], true};
    const auto n = static_cast<size_t>(options_.n_best_size);
    const std::vector<uint32_t> starts = largest(logits.start, n), ends = largest(logits.end, n);
    for (const uint32_t s : starts)
      for (const uint32_t e : ends) {
        if (s >= feature.offsets.size() || e >= feature.offsets.size()) continue;
        if (!feature.is_context[s] || !feature.is_context[e]) continue;
        if (e < s || static_cast<int64_t>(e - s) + 1 > options_.max_answer_length) continue;
        entries_.push_back({{feature.offsets[s].begin, feature.offsets[e].end},
                            rounded(logits.start[s] + logits.end[e], type_),
                            logits.start[s],
                            logits.end[e],
                            false});
      }
  }

  ExampleAnswer finish(const SquadExample& example) {
    if (options_.version_2 && null_) entries_.push_back(*null_);
    std::stable_sort(entries_.begin(), entries_.end(),
                     [](const Entry& a, const Entry& b) { return a.score > b.score; });
    if (entries_.size() > static_cast<size_t>(options_.n_best_size))
      entries_.resize(static_cast<size_t>(options_.n_best_size));
    const bool has_null = std::any_of(entries_.begin(), entries_.end(), [](const Entry& e) {
      return e.span == text::Offset{0, 0};
    });
    if (options_.version_2 && null_ && !has_null) entries_.push_back(*null_);
    const CodePointIndex context(*example.context);
    ExampleAnswer answer;
    std::vector<double> scores;
    for (const Entry& e : entries_) {
      answer.n_best.push_back(
          {std::string(context.slice(e.span.begin, e.span.end)), e.start, e.end, 0, false, e.span});
      scores.push_back(e.score);
    }
    const bool empty = answer.n_best.empty() || (answer.n_best.size() == 1 && answer.n_best[0].text.empty());
    if (empty) {
      answer.n_best.insert(answer.n_best.begin(), Candidate{"empty", 0, 0, 0, true, {0, 0}});
      scores.insert(scores.begin(), 0.0);
    }
    softmax(answer.n_best, scores, type_, empty);
    if (!options_.version_2) {
      answer.text = answer.n_best[0].text;
    } else if (null_) {
      choose(answer);
    }
    return answer;
  }

 private:
  void choose(ExampleAnswer& answer) const {
    const auto best = std::find_if(answer.n_best.begin(), answer.n_best.end(),
                                   [](const Candidate& c) { return !c.text.empty(); });
    if (best == answer.n_best.end()) {
      answer.null_odds = null_->score;
      return;
    }
    const float after_start = rounded(null_->score - static_cast<float>(best->start_logit), type_);
    answer.null_odds = rounded(after_start - static_cast<float>(best->end_logit), type_);
    if (!(answer.null_odds > options_.null_score_diff_threshold)) answer.text = best->text;
  }

  AnswerOptions options_;
  LogitType type_;
  std::optional<Entry> null_;
  std::vector<Entry> entries_;
};

}  // namespace

std::vector<ExampleAnswer> find_answers(const std::vector<SquadExample>& examples, size_t feature_count,
                                        const FeatureSource& feature, std::span<const FeatureLogits> logits,
                                        const AnswerOptions& options, LogitType type) {
  if (logits.size() != feature_count)
    fail("[answers] {} rows of logits for {} features", logits.size(), feature_count);
  std::vector<ExampleAnswer> answers;
  answers.reserve(examples.size());
  std::vector<Example> open(examples.size(), Example(options, type));
  for (size_t f = 0; f < feature_count; ++f) {
    const AnswerFeature current = feature(f);
    if (current.example >= examples.size())
      fail("[answers] feature {} belongs to example {} of {}", f, current.example, examples.size());
    if (logits[f].start.empty() || logits[f].start.size() != logits[f].end.size())
      fail("[answers] feature {} has {} start and {} end logits", f, logits[f].start.size(),
           logits[f].end.size());
    for (const std::span<const float> values : {logits[f].start, logits[f].end})
      if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
        fail("[answers] the logits for question \"{}\" are no finite numbers", examples[current.example].id);
    open[current.example].add(current, logits[f]);
  }
  for (size_t e = 0; e < examples.size(); ++e) answers.push_back(open[e].finish(examples[e]));
  return answers;
}

Json predictions_json(const std::vector<SquadExample>& examples, const std::vector<ExampleAnswer>& answers) {
  Json::object_t json;
  for (size_t e = 0; e < examples.size(); ++e) json.emplace_back(examples[e].id, answers[e].text);
  return json;
}

Json n_best_json(const std::vector<SquadExample>& examples, const std::vector<ExampleAnswer>& answers) {
  Json::object_t json;
  for (size_t e = 0; e < examples.size(); ++e) {
    Json list = Json::array();
    for (const Candidate& c : answers[e].n_best) {
      if (c.placeholder) {
        list.push_back({{"text", c.text},
                        {"start_logit", c.start_logit},
                        {"end_logit", c.end_logit},
                        {"probability", c.probability}});
      } else {
        list.push_back({{"start_logit", c.start_logit},
                        {"end_logit", c.end_logit},
                        {"text", c.text},
                        {"probability", c.probability}});
      }
    }
    json.emplace_back(examples[e].id, std::move(list));
  }
  return json;
}

Json null_odds_json(const std::vector<SquadExample>& examples, const std::vector<ExampleAnswer>& answers) {
  Json::object_t json;
  for (size_t e = 0; e < examples.size(); ++e) json.emplace_back(examples[e].id, answers[e].null_odds);
  return json;
}

}  // namespace qdqbert::tasks
