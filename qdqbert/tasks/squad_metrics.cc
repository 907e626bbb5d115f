#include "qdqbert/tasks/squad_metrics.h"

#include <algorithm>
#include <numeric>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/text/unicode.h"

namespace qdqbert::tasks {

namespace {

bool is_ascii_punctuation(char32_t c) {
  return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
}

std::vector<std::string> tokens_of(std::string_view text) {
  std::vector<char32_t> chars = decode_utf8(text::python_lower(text));
  chars.erase(std::remove_if(chars.begin(), chars.end(), is_ascii_punctuation), chars.end());
  // Articles are whole runs of word characters, so they go before white space is looked at.
  for (size_t i = 0; i < chars.size();) {
    if (!(text::properties(chars[i]) & text::kWordCharacter)) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < chars.size() && (text::properties(chars[end]) & text::kWordCharacter)) ++end;
    const std::u32string_view word(chars.data() + i, end - i);
    if (word == U"a" || word == U"an" || word == U"the")
      std::fill(chars.begin() + static_cast<std::ptrdiff_t>(i),
                chars.begin() + static_cast<std::ptrdiff_t>(end), U' ');
    i = end;
  }
  std::vector<std::string> tokens;
  bool open = false;
  for (const char32_t c : chars) {
    if (text::properties(c) & text::kPythonSpace) {
      open = false;
      continue;
    }
    if (!open) tokens.emplace_back();
    open = true;
    append_utf8(c, tokens.back());
  }
  return tokens;
}

/// 0 when the texts share no token, also when both are empty (v1.1).
double f1_of(const std::vector<std::string>& prediction, const std::vector<std::string>& gold) {
  std::unordered_map<std::string_view, int> count;
  for (const std::string& token : gold) ++count[token];
  int common = 0;
  for (const std::string& token : prediction)
    if (auto found = count.find(token); found != count.end() && found->second > 0) {
      --found->second;
      ++common;
    }
  if (common == 0) return 0;
  const double precision = 1.0 * common / static_cast<double>(prediction.size());
  const double recall = 1.0 * common / static_cast<double>(gold.size());
  return 2 * precision * recall / (precision + recall);
}

/// 1 when both are empty (v2.0).
double f1_v2_of(const std::vector<std::string>& prediction, const std::vector<std::string>& gold) {
  if (prediction.empty() || gold.empty()) return prediction.empty() && gold.empty() ? 1 : 0;
  return f1_of(prediction, gold);
}

}  // namespace

std::string normalize_answer(std::string_view text) {
  std::string out;
  for (const std::string& token : tokens_of(text)) out += (out.empty() ? "" : " ") + token;
  return out;
}

QuestionScore score_v1(std::string_view prediction, const std::vector<SquadAnswer>& answers) {
  if (answers.empty()) fail("[metric] a question without answers cannot be scored; use the v2 metric");
  QuestionScore best;
  const std::vector<std::string> tokens = tokens_of(prediction);
  for (const SquadAnswer& answer : answers) {
    const std::vector<std::string> gold = tokens_of(answer.text);
    best.exact = std::max(best.exact, tokens == gold ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_of(tokens, gold));
  }
  return best;
}

QuestionScore score_v2(std::string_view prediction, const std::vector<SquadAnswer>& answers) {
  const std::vector<std::string> tokens = tokens_of(prediction);
  QuestionScore best;
  bool any = false;
  const auto compare = [&](const std::vector<std::string>& gold) {
    best.exact = std::max(best.exact, tokens == gold ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_v2_of(tokens, gold));
    any = true;
  };
  for (const SquadAnswer& answer : answers)
    if (const auto gold = tokens_of(answer.text); !gold.empty()) compare(gold);
  if (!any) compare({});
  return best;
}

Json squad_metric(const std::vector<SquadExample>& examples, const Predictions& predictions) {
  double exact = 0, f1 = 0;
  size_t missing = 0;
  for (const SquadExample& example : examples) {
    const auto found = predictions.find(example.id);
    if (found == predictions.end()) {
      if (example.answers.empty()) score_v1("", example.answers);
      ++missing;
      continue;
    }
    const QuestionScore score = score_v1(found->second, example.answers);
    exact += score.exact;
    f1 += score.f1;
  }
  if (missing > 0) log_warning("{} of {} questions have no prediction and count 0", missing, examples.size());
  const auto total = static_cast<double>(examples.size());
  return {{"exact_match", 100.0 * exact / total}, {"f1", 100.0 * f1 / total}};
}

namespace {

struct Scored {
  const PredictionV2* prediction;
  bool has_answer;
  QuestionScore raw, thresholded;
};

/// The walk over ascending no-answer probability that finds the best threshold.
std::pair<double, double> best_of(const std::vector<Scored>& scored, double QuestionScore::*part) {
  std::vector<size_t> order(scored.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return static_cast<float>(scored[a].prediction->no_answer_probability) <
           static_cast<float>(scored[b].prediction->no_answer_probability);
  });
  double current = 0;
  for (const Scored& s : scored) current += !s.has_answer;
  double best = current, threshold = 0;
  for (const size_t i : order) {
    const Scored& s = scored[i];
    if (s.has_answer) {
      current += s.raw.*part;
    } else if (!s.prediction->text.empty()) {
      current -= 1;
    }
    if (current > best) {
      best = current;
      threshold = static_cast<float>(s.prediction->no_answer_probability);
    }
  }
  return {100.0 * best / static_cast<double>(scored.size()), threshold};
}

void add_part(Json& json, const std::vector<Scored>& scored, const std::string& prefix, bool has_answer) {
  double exact = 0, f1 = 0, total = 0;
  for (const Scored& s : scored) {
    if (s.has_answer != has_answer) continue;
    exact += s.thresholded.exact;
    f1 += s.thresholded.f1;
    ++total;
  }
  if (total == 0) return;
  json[prefix + "exact"] = 100.0 * exact / total;
  json[prefix + "f1"] = 100.0 * f1 / total;
  json[prefix + "total"] = static_cast<int64_t>(total);
}

}  // namespace

Json squad_v2_metric(const std::vector<SquadExample>& examples, const std::vector<PredictionV2>& predictions,
                     double no_answer_threshold) {
  std::unordered_map<std::string_view, const SquadExample*> by_id;
  for (const SquadExample& example : examples) by_id[example.id] = &example;
  std::unordered_map<std::string_view, size_t> at;
  std::vector<Scored> walk;
  for (const PredictionV2& prediction : predictions) {
    const auto found = by_id.find(prediction.id);
    if (found == by_id.end()) fail("[metric] the prediction for {} belongs to no question", prediction.id);
    Scored s{
        &prediction, !found->second->answers.empty(), score_v2(prediction.text, found->second->answers), {}};
    const bool nulled = static_cast<float>(prediction.no_answer_probability) > no_answer_threshold;
    s.thresholded = nulled ? QuestionScore{s.has_answer ? 0.0 : 1.0, s.has_answer ? 0.0 : 1.0} : s.raw;
    at[prediction.id] = walk.size();
    walk.push_back(s);
  }
  std::vector<Scored> in_order;
  size_t missing = 0;
  for (const SquadExample& example : examples) {
    const auto found = at.find(example.id);
    found == at.end() ? static_cast<void>(++missing) : in_order.push_back(walk[found->second]);
  }
  if (missing > 0)
    log_warning("{} of {} questions have no prediction and are left out", missing, examples.size());
  if (in_order.empty()) fail("[metric] there is no prediction to score");
  double exact = 0, f1 = 0;
  for (const Scored& s : in_order) {
    exact += s.thresholded.exact;
    f1 += s.thresholded.f1;
  }
  const auto total = static_cast<double>(in_order.size());
  Json json = {{"exact", 100.0 * exact / total}, {"f1", 100.0 * f1 / total}, {"total", in_order.size()}};
  add_part(json, in_order, "HasAns_", true);
  add_part(json, in_order, "NoAns_", false);
  const auto [best_exact, exact_threshold] = best_of(walk, &QuestionScore::exact);
  const auto [best_f1, f1_threshold] = best_of(walk, &QuestionScore::f1);
  json["best_exact"] = best_exact;
  json["best_exact_thresh"] = exact_threshold;
  json["best_f1"] = best_f1;
  json["best_f1_thresh"] = f1_threshold;
  return json;
}

}  // namespace qdqbert::tasks
