#include <gtest/gtest.h>

#include "qdqbert/tasks/squad_metrics.h"

#include "tests/tasks/tasks_golden.h"

namespace qdqbert::tasks {
namespace {

using testing::golden_dir;
using testing::GoldenFamily;
using testing::GoldenSkip;
using testing::read_json_lines;

TEST(MetricsGolden, Normalize) {
  GoldenFamily family("metrics-normalize");
  for (const Json& want : read_json_lines(golden_dir() / "metrics/normalize.jsonl"))
    family.run(want["text"], [&] {
      EXPECT_EQ(normalize_answer(want["text"].get<std::string>()), want["normalized"].get<std::string>());
    });
}

std::vector<SquadAnswer> answers_of(const Json& list) {
  std::vector<SquadAnswer> answers;
  for (const Json& text : list) answers.push_back({text.get<std::string>(), 0});
  return answers;
}

TEST(MetricsGolden, Pairs) {
  GoldenFamily family("metrics-pairs");
  for (const Json& want : read_json_lines(golden_dir() / "metrics/pairs.jsonl"))
    family.run(std::to_string(want["i"].get<int>()), [&] {
      const std::string prediction = want["prediction"];
      const auto answers = answers_of(want["answers"]);
      if (want.contains("v1")) {
        const QuestionScore score = score_v1(prediction, answers);
        EXPECT_EQ(score.exact, want["v1"]["exact_match"].get<double>());
        EXPECT_NEAR(score.f1, want["v1"]["f1"].get<double>(), 1e-12);
      } else {
        EXPECT_THROW(score_v1(prediction, answers), InputError);
      }
      const QuestionScore score = score_v2(prediction, answers);
      EXPECT_EQ(score.exact, want["v2"]["exact"].get<double>());
      EXPECT_NEAR(score.f1, want["v2"]["f1"].get<double>(), 1e-12);
    });
}

void expect_metrics(const Json& got, const Json& want) {
  ASSERT_EQ(got.size(), want.size());
  auto mine = got.begin();
  for (const auto& [key, value] : want.items()) {
    EXPECT_EQ(mine.key(), key);
    EXPECT_NEAR(mine.value().get<double>(), value.get<double>(), 1e-9) << key;
    ++mine;
  }
}

TEST(MetricsGolden, SquadV2Small) {
  GoldenFamily family("metrics-squad-v2-small");
  for (const Json& want : read_json_lines(golden_dir() / "metrics/squad-v2-small.jsonl"))
    family.run(want["what"], [&] {
      std::vector<SquadExample> examples;
      std::vector<PredictionV2> predictions;
      for (size_t i = 0; i < want["items"].size(); ++i) {
        const Json& item = want["items"][i];
        SquadExample& example = examples.emplace_back();
        example.id = std::to_string(i);
        example.answers = answers_of(item["answers"]);
        predictions.push_back(
            {example.id, item["prediction"].get<std::string>(), item["no_answer_probability"].get<double>()});
      }
      expect_metrics(squad_v2_metric(examples, predictions, want["no_answer_threshold"]), want["result"]);
    });
}

/// The text up to the count-th space.
std::string first_words(const std::string& text, size_t count) {
  size_t end = 0;
  for (size_t i = 0; i < count && end != std::string::npos; ++i) end = text.find(' ', i == 0 ? 0 : end + 1);
  return text.substr(0, end);
}

bool begins(const std::string& text, const std::string& with) {
  return text.starts_with(with);
}
bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// What the rule predicts; "mixed..." comes from a file.
std::string predicted(const std::string& rule, const SquadExample& example, const Json& file) {
  if (begins(rule, "mixed")) return file.at(example.id);
  if (begins(rule, "first-answer") || begins(rule, "first answer"))
    return example.answers.empty() ? "" : example.answers.front().text;
  if (begins(rule, "last-answer")) return example.answers.empty() ? "" : example.answers.back().text;
  if (rule == "empty") return "";
  if (rule == "question") return example.question;
  if (rule == "first-3-words-of-context") return first_words(*example.context, 3);
  if (rule == "first word of the context") return first_words(*example.context, 1);
  fail("[golden] unknown rule of prediction {}", rule);
}

TEST(MetricsGolden, Whole) {
  GoldenFamily family("metrics-whole");
  std::map<std::string, std::vector<SquadExample>> sets;
  for (const Json& want : read_json_lines(golden_dir() / "metrics/whole.jsonl")) {
    const std::string set = want["set"], rule = want["predictions"];
    family.run(set + " " + rule, [&] {
      const auto path = testing::find_data(set);
      if (!path) throw GoldenSkip{"absent data set " + set};
      if (!sets.contains(set)) sets[set] = read_squad(*path);
      const auto file_of = [&](const char* key) {
        return want.contains(key) && want[key].is_string()
                   ? read_json(golden_dir() / "metrics" / want[key].get<std::string>())
                   : Json();
      };
      const Json file = file_of("file"), probabilities = file_of("probabilities");
      std::vector<SquadExample> examples = sets[set];
      const auto keep = [&](bool answerable) {
        examples.erase(std::remove_if(examples.begin(), examples.end(),
                                      [&](const SquadExample& e) { return e.answers.empty() == answerable; }),
                       examples.end());
      };
      if (contains(rule, "unanswerable questions only")) {
        keep(false);
      } else if (contains(rule, "answerable questions only")) {
        keep(true);
      }
      const bool gaps = contains(rule, "without every 7th id");
      if (want["metric"] == "squad") {
        Predictions predictions;
        for (size_t i = 0; i < examples.size(); ++i)
          if (!gaps || i % 7 != 0) predictions[examples[i].id] = predicted(rule, examples[i], file);
        if (gaps) predictions["unknown"] = "nothing";
        expect_metrics(squad_metric(examples, predictions), want["result"]);
        return;
      }
      std::vector<PredictionV2> predictions;
      for (const SquadExample& example : examples)
        predictions.push_back({example.id, predicted(rule, example, file),
                               probabilities.is_null() ? 0.0 : probabilities.at(example.id).get<double>()});
      expect_metrics(squad_v2_metric(examples, predictions, want.value("no_answer_threshold", 1.0)),
                     want["result"]);
    });
  }
}

}  // namespace
}  // namespace qdqbert::tasks
