#include <cmath>

#include <gtest/gtest.h>

#include "qdqbert/base/file.h"
#include "qdqbert/tasks/squad_metrics.h"
#include "qdqbert/tasks/squad_postprocess.h"

#include "tests/tasks/tasks_golden.h"

namespace qdqbert::tasks {
namespace {

using testing::golden_dir;
using testing::GoldenFamily;
using testing::GoldenSkip;
using testing::read_json_lines;

AnswerOptions options_of(const Json& json) {
  AnswerOptions options;
  for (const auto& [key, value] : json.items()) {
    if (key == "n_best_size") {
      options.n_best_size = value;
    } else if (key == "max_answer_length") {
      options.max_answer_length = value;
    } else if (key == "version_2_with_negative") {
      options.version_2 = value;
    } else if (key == "null_score_diff_threshold") {
      options.null_score_diff_threshold = value;
    } else {
      fail("[golden] unknown option {}", key);
    }
  }
  return options;
}

/// Overflow gives infinities and NaN, which the golden file spells as strings.
double number(const Json& value) {
  return value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>();
}

/// Everything equal but probabilities, which differ in the last bits of exp
/// (relative 1e-6, half precision 1e-3).
void expect_n_best(const Json& got, const Json& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [id, list] : want.items()) {
    const Json& mine = got.at(id);
    ASSERT_EQ(mine.size(), list.size()) << id;
    for (size_t i = 0; i < list.size(); ++i) {
      for (const auto& [key, value] : list[i].items()) {
        if (key == "probability") {
          const double mine_value = number(mine[i][key]), want_value = number(value);
          if (std::isnan(mine_value) && std::isnan(want_value)) continue;
          EXPECT_NEAR(mine_value, want_value, tolerance * std::abs(want_value) + 1e-12) << id << " " << i;
        } else if (value.is_string() && key != "text") {
          EXPECT_EQ(number(mine[i][key]), number(value)) << id << " " << i << " " << key;
        } else {
          EXPECT_EQ(mine[i][key], value) << id << " " << i << " " << key;
        }
      }
    }
  }
}

Json without_probabilities(Json n_best) {
  for (auto& [id, list] : n_best.items())
    for (Json& entry : list) entry["probability"] = nullptr;
  return n_best;
}

TEST(SquadGolden, Post) {
  GoldenFamily family("squad-post");
  std::map<std::string, Json> feature_lines;
  for (const Json& line : read_json_lines(golden_dir() / "squad/features.jsonl"))
    feature_lines[line["file"]] = line;
  for (const Json& want : read_json_lines(golden_dir() / "squad/post.jsonl"))
    family.run(want["case"], [&] {
      const std::string kind = want["kind"];
      if (kind == "inf" || kind == "nan")
        throw GoldenSkip{"non-finite logits, whose order the original leaves undefined"};
      FeatureSet set(feature_lines.at(want["features"]));
      set.options.labels = false;
      const SquadFeatures features = SquadFeatures::build(set.examples, *set.tokenizer, set.options, 2);
      const io::SafetensorsFile file =
          io::SafetensorsFile::open(golden_dir() / "squad" / want["logits"].get<std::string>());
      const TensorView& starts = file.at("start_logits");
      const std::vector<float> start = to_float32(starts), end = to_float32(file.at("end_logits"));
      const auto width = static_cast<size_t>(starts.shape[1]);
      std::vector<FeatureLogits> logits;
      for (size_t f = 0; f < features.size(); ++f)
        logits.push_back(
            {std::span(start).subspan(f * width, width), std::span(end).subspan(f * width, width)});
      const bool half = starts.dtype == DType::kF16;
      const AnswerOptions options = options_of(want["options"]);
      const auto answers = find_answers(
          set.examples, features.size(),
          [&](size_t f) {
            AnswerFeature feature;
            feature.example = features[f].example;
            features.offsets(f, feature.offsets, feature.is_context);
            return feature;
          },
          logits, options, half ? LogitType::kFloat16 : LogitType::kFloat32);
      for (const auto& [name, path] : want["files"].items()) {
        const std::string stored = read_maybe_gzip(golden_dir() / "squad" / path.get<std::string>());
        const JsonStyle style{4, false, true, true};
        if (name.find("nbest") != std::string::npos) {
          const Json json = n_best_json(set.examples, answers);
          const Json expected = parse_json(stored, name);
          expect_n_best(json, expected, half ? 1e-3 : 1e-6);
          // Byte for byte but for the probabilities: the order of keys,
          // and numbers as the original writes them.
          EXPECT_EQ(dump_json(expected, style), stored);
          EXPECT_EQ(dump_json(without_probabilities(json), style),
                    dump_json(without_probabilities(expected), style));
        } else if (name.find("null_odds") != std::string::npos) {
          EXPECT_EQ(dump_json(null_odds_json(set.examples, answers), style), stored);
        } else {
          EXPECT_EQ(dump_json(predictions_json(set.examples, answers), style), stored);
        }
      }
      if (want.contains("metrics_answerable_only")) {
        std::vector<SquadExample> answerable;
        Predictions predictions;
        for (size_t e = 0; e < set.examples.size(); ++e) {
          if (!set.examples[e].answers.empty()) answerable.push_back(set.examples[e]);
          predictions[set.examples[e].id] = answers[e].text;
        }
        const Json got = squad_metric(answerable, predictions);
        for (const auto& [key, value] : want["metrics_answerable_only"].items())
          EXPECT_NEAR(got.at(key).get<double>(), value.get<double>(), 1e-9) << key;
      }
      if (want.contains("metrics")) {
        std::vector<PredictionV2> v2;
        Predictions v1;
        for (size_t e = 0; e < set.examples.size(); ++e) {
          v2.push_back({set.examples[e].id, answers[e].text, 0});
          v1[set.examples[e].id] = answers[e].text;
        }
        const Json got =
            options.version_2 ? squad_v2_metric(set.examples, v2) : squad_metric(set.examples, v1);
        for (const auto& [key, value] : want["metrics"].items())
          EXPECT_NEAR(got.at(key).get<double>(), value.get<double>(), 1e-9) << key;
      }
    });
}

TEST(SquadGolden, PostSmall) {
  GoldenFamily family("squad-post-small");
  for (const Json& want : read_json_lines(golden_dir() / "squad/post-small.jsonl"))
    family.run(want["what"], [&] {
      std::vector<SquadExample> examples;
      for (const Json& example : want["examples"]) {
        examples.push_back(golden_example(example, ""));
        for (size_t e = 0; e + 1 < examples.size(); ++e)
          if (examples[e].id == examples.back().id)
            throw GoldenSkip{"repeated ids, refused when a data set is read"};
      }
      std::vector<std::vector<float>> rows;
      std::vector<AnswerFeature> features;
      for (const Json& f : want["features"]) {
        for (const char* key : {"start_logits", "end_logits"}) {
          std::vector<float>& row = rows.emplace_back();
          for (const Json& v : f[key]) {
            if (v.is_string())
              throw GoldenSkip{"non-finite logits, whose order the original leaves undefined"};
            const float value = v.get<float>();
            row.push_back(want["dtype"] == "float16" ? half_to_float(float_to_half(value)) : value);
          }
        }
        AnswerFeature& feature = features.emplace_back();
        for (size_t e = 0; e < examples.size(); ++e)
          if (examples[e].id == f["example_id"].get<std::string>()) feature.example = e;
        for (const Json& o : f["offset_mapping"]) {
          const bool there = o.is_array() && o.size() == 2;
          feature.offsets.push_back(there ? text::Offset{o[0].get<uint32_t>(), o[1].get<uint32_t>()}
                                          : text::Offset{});
          feature.is_context.push_back(there);
        }
      }
      std::vector<FeatureLogits> logits;
      for (size_t f = 0; f < features.size(); ++f) logits.push_back({rows[2 * f], rows[2 * f + 1]});
      const bool half = want["dtype"] == "float16";
      const auto run = [&] {
        return find_answers(
            examples, features.size(), [&](size_t f) { return features[f]; }, logits,
            options_of(want["options"]), half ? LogitType::kFloat16 : LogitType::kFloat32);
      };
      if (want.contains("error")) {
        // The original crashes on v2 questions without a non-empty candidate; we answer them with nothing.
        const auto answers = run();
        EXPECT_EQ(answers.size(), examples.size());
        EXPECT_TRUE(std::any_of(answers.begin(), answers.end(),
                                [](const ExampleAnswer& a) { return a.text.empty(); }));
        return;
      }
      const auto answers = run();
      EXPECT_EQ(predictions_json(examples, answers), want["predictions"]);
      expect_n_best(n_best_json(examples, answers), want["nbest"], half ? 1e-3 : 1e-6);
      if (want.contains("null_odds")) {
        const Json odds = null_odds_json(examples, answers);
        for (const auto& [id, value] : want["null_odds"].items())
          EXPECT_EQ(number(odds.at(id)), number(value)) << id;
      }
    });
}

}  // namespace
}  // namespace qdqbert::tasks
