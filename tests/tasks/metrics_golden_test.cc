#include <cmath>
#include <sstream>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/tasks/classification_metrics.h"
#include "qdqbert/tasks/regression_metrics.h"
#include "qdqbert/tasks/sequence_metrics.h"

#include "tests/support/golden.h"

namespace qdqbert::tasks {
namespace {

using testing::golden_dir;
using testing::GoldenFamily;
using testing::GoldenSkip;
using testing::read_json_lines;

TagSequences tags_of(const Json& lists) {
  TagSequences tags;
  for (const Json& list : lists) tags.push_back(list.get<std::vector<std::string>>());
  return tags;
}

/// Keys in order, numbers to 1e-9 (sums in another order).
void expect_equal(const Json& got, const Json& want, const std::string& where) {
  if (!want.is_object()) {
    EXPECT_NEAR(got.get<double>(), want.get<double>(), 1e-9) << where;
    return;
  }
  ASSERT_EQ(got.size(), want.size()) << where;
  auto mine = got.begin();
  for (const auto& [key, value] : want.items()) {
    ASSERT_EQ(mine.key(), key) << where;
    expect_equal(mine.value(), value, where + "/" + key);
    ++mine;
  }
}

void expect_scores(const TagSequences& references, const TagSequences& predictions, const Json& want) {
  int compared = 0;
  for (const auto& [key, scheme] :
       {std::pair("default", TagScheme::kLenient), std::pair("strict-IOB2", TagScheme::kStrictIob2)}) {
    if (!want.contains(key)) continue;
    ++compared;
    const Json& result = want[key];
    if (result.contains("error")) {
      EXPECT_THROW(score_sequences(references, predictions, scheme), InputError) << key;
    } else {
      expect_equal(score_sequences(references, predictions, scheme).to_json(), result, key);
    }
  }
  EXPECT_GT(compared, 0);
}

/// The last column of a file with one token a line and blank lines between sentences.
TagSequences read_tag_column(const std::filesystem::path& path) {
  TagSequences sentences(1);
  std::istringstream text(read_maybe_gzip(path));
  for (std::string line; std::getline(text, line);) {
    const size_t last = line.find_last_not_of(" \t\r");
    if (last == std::string::npos) {
      if (!sentences.back().empty()) sentences.emplace_back();
      continue;
    }
    line.resize(last + 1);
    sentences.back().push_back(line.substr(line.find_last_of(" \t") + 1));
  }
  if (sentences.back().empty()) sentences.pop_back();
  return sentences;
}

TEST(MetricsGolden, Seqeval) {
  GoldenFamily family("metrics-seqeval");
  for (const Json& want : read_json_lines(golden_dir() / "metrics/seqeval.jsonl"))
    family.run(want["what"],
               [&] { expect_scores(tags_of(want["references"]), tags_of(want["predictions"]), want); });
  for (const Json& want : read_json_lines(golden_dir() / "metrics/seqeval-whole.jsonl")) {
    const std::string set = want["set"];
    family.run(set, [&] {
      const auto path = testing::find_data(set);
      if (!path) throw GoldenSkip{"absent data set " + set};
      const TagSequences references = read_tag_column(*path);
      ASSERT_EQ(references.size(), want["sentences"].get<size_t>());
      TagSequences predictions;
      for (const Json& line : read_json_lines(golden_dir() / "metrics" / want["file"].get<std::string>()))
        predictions.push_back(line.get<std::vector<std::string>>());
      expect_scores(references, predictions, want);
    });
  }
}

TEST(MetricsGolden, Classification) {
  GoldenFamily family("metrics-classification");
  for (const Json& want : read_json_lines(golden_dir() / "metrics/classification.jsonl"))
    family.run(want["what"], [&] {
      const auto references = want["references"].get<std::vector<int64_t>>(),
                 predictions = want["predictions"].get<std::vector<int64_t>>();
      const ClassificationScore got = score_classification(references, predictions);
      EXPECT_NEAR(got.accuracy, want["accuracy"].get<double>(), 1e-9);
      EXPECT_NEAR(got.matthews_correlation, want["matthews_correlation"].get<double>(), 1e-9);
      EXPECT_NEAR(got.f1_macro, want["f1_macro"].get<double>(), 1e-9);
      EXPECT_NEAR(got.f1_micro, want["f1_micro"].get<double>(), 1e-9);
      EXPECT_NEAR(got.f1_weighted, want["f1_weighted"].get<double>(), 1e-9);
      if (want.contains("f1_binary")) {
        EXPECT_NEAR(got.f1_of(1), want["f1_binary"].get<double>(), 1e-9);
      }
      EXPECT_EQ(got.labels, want["labels"].get<std::vector<int64_t>>());
      const auto per_label = want["f1_per_label"].get<std::vector<double>>();
      ASSERT_EQ(got.f1_per_label.size(), per_label.size());
      for (size_t i = 0; i < per_label.size(); ++i) EXPECT_NEAR(got.f1_per_label[i], per_label[i], 1e-9);
    });
}

TEST(MetricsGolden, Regression) {
  GoldenFamily family("metrics-regression");
  for (const Json& want : read_json_lines(golden_dir() / "metrics/regression.jsonl"))
    family.run(want["what"], [&] {
      const auto references = want["references"].get<std::vector<double>>(),
                 predictions = want["predictions"].get<std::vector<double>>();
      const auto expect = [&](const char* key,
                              double (*score)(std::span<const double>, std::span<const double>)) {
        const Json& value = want.at(key);
        if (value.is_object()) {
          EXPECT_THROW(score(references, predictions), InputError) << key;
        } else if (value.is_string()) {
          EXPECT_TRUE(std::isnan(score(references, predictions))) << key;
        } else {
          const double number = value.get<double>();
          EXPECT_NEAR(score(references, predictions), number, 1e-9 * std::max(1.0, std::abs(number))) << key;
        }
      };
      expect("pearsonr", pearson_correlation);
      expect("spearmanr", spearman_correlation);
      expect("mse", mean_squared_error);
    });
}

}  // namespace
}  // namespace qdqbert::tasks
