#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/tasks/classify_evaluation.h"
#include "qdqbert/tasks/token_rows.h"

#include "tests/support/golden.h"
#include "tests/support/scratch_directory.h"
#include "tests/tasks/letters_tokenizer.h"

namespace qdqbert::tasks {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Names = std::vector<std::string>;

RecordFile csv(const std::string& text) {
  return parse_records(text, RecordFormat::kCsv, "data.csv");
}
RecordFile lines(const std::string& text) {
  return parse_records(text, RecordFormat::kJsonLines, "data.jsonl");
}

TEST(Records, FormatsAgree) {
  const std::string json = R"({"text":"a \"b\", c","label":"x"})";
  for (const RecordFile& file :
       {csv("text,label\n\"a \"\"b\"\", c\",x\n"), lines(json + "\n\n"),
        parse_records("text\tlabel\r\na \"b\", c\tx\r\n", RecordFormat::kTsv, "data.tsv"),
        parse_records(json, RecordFormat::kJson, "data.json"),
        parse_records("[" + json + "]", RecordFormat::kJson, "data.json"),
        parse_records("{\"version\": 1,\n \"data\": [" + json + "]}", RecordFormat::kJson, "data.json"),
        parse_records(R"({"data": [)" + json + "]}", RecordFormat::kJson, "data.json")}) {
    EXPECT_THAT(file.columns, ElementsAre("text", "label"));
    ASSERT_EQ(file.records.size(), 1u);
    EXPECT_EQ(file.text(file.records[0], "text"), "a \"b\", c");
  }
}

TEST(Records, LinesAreCountedWhereRecordsBegin) {
  const RecordFile file = csv("text,label\n\"two\nlines\",x\nlast,y\n");
  EXPECT_EQ(file.where(file.records[0]), "data.csv:2");
  EXPECT_EQ(file.where(file.records[1]), "data.csv:4");
}

TEST(Classify, ColumnsAreFoundAsInTheExampleScripts) {
  ClassifyData data = parse_classify(csv("idx,sentence2,sentence1,label\n0,b,a,1\n"));
  EXPECT_TRUE(data.pairs);
  EXPECT_EQ(data.examples[0].first, "a");
  EXPECT_EQ(data.examples[0].second, "b");
  data = parse_classify(csv("id,premise,hypothesis,label\n0,p,h,1\n"));
  EXPECT_THAT(data.first_texts(), ElementsAre("p"));
  EXPECT_THAT(data.second_texts(), ElementsAre("h"));
  data = parse_classify(csv("text,category\nhi,greeting\n"), {.label = "category"});
  EXPECT_FALSE(data.pairs);
  EXPECT_THAT(data.labels(), ElementsAre("greeting"));
  data = parse_classify(csv("a,b,c,label\n1,2,3,x\n"), {.text = {"a", "b", "c"}, .delimiter = " + "});
  EXPECT_THAT(data.first_texts(), ElementsAre("1 + 2 + 3"));
  EXPECT_TRUE(data.second_texts().empty());
}

TEST(Classify, TheKindFollowsFromTheLabels) {
  const auto kind = [](const RecordFile& file) { return parse_classify(file).kind; };
  EXPECT_EQ(kind(csv("text,label\na,0\nb,1\n")), ClassifyKind::kSingleLabel);
  EXPECT_EQ(kind(csv("text,label\na,0\nb,1.5\n")), ClassifyKind::kRegression);
  EXPECT_EQ(kind(csv("text,label\na,0.5\nb,good\n")), ClassifyKind::kSingleLabel);
  EXPECT_EQ(kind(lines(R"({"text":"a","label":[]})")), ClassifyKind::kMultiLabel);
  const ClassifyData several = parse_classify(csv("text,label\na,x|y\nb,\nc,y\n"), {.label_separator = "|"});
  EXPECT_EQ(several.kind, ClassifyKind::kMultiLabel);
  EXPECT_THAT(several.examples[0].labels, ElementsAre("x", "y"));
  EXPECT_TRUE(several.examples[1].labels.empty());
  EXPECT_THAT(several.labels(), ElementsAre("x", "y"));
  EXPECT_FALSE(parse_classify(csv("text\na\n"), {.labels_required = false}).labelled);
}

TEST(Labels, SortedByNumberOrByName) {
  EXPECT_THAT(sorted_labels({"10", "9", "10", "-1"}), ElementsAre("-1", "9", "10"));
  EXPECT_THAT(sorted_labels({"10", "9", "b", "B"}), ElementsAre("10", "9", "B", "b"));
}

TEST(Labels, NamesNumbersAndCase) {
  const LabelMap labels({"Negative", "positive"});
  EXPECT_EQ(labels.id("Negative"), 0);
  EXPECT_EQ(labels.id("POSITIVE"), 1);
  EXPECT_EQ(labels.id("1"), 1);
  EXPECT_EQ(labels.id("2"), std::nullopt);
  EXPECT_EQ(LabelMap({"5", "7"}).id("1"), std::nullopt) << "numbers are names here";
  EXPECT_EQ(LabelMap({"a", "A"}).id("a"), 0);
  EXPECT_EQ(LabelMap({"a", "A"}).id("A"), 1);
}

TEST(Labels, ANameThatStandsTwiceIsOne) {
  const LabelMap labels = LabelMap::of_model({"x", "X", "x", "y"});
  EXPECT_EQ(labels.size(), 4u);
  EXPECT_EQ(labels.id("x"), 2);
  EXPECT_EQ(labels.id("X"), 1);
  EXPECT_EQ(labels.id("Y"), 3);
  EXPECT_EQ(labels.canonical(0), 2);
  EXPECT_EQ(LabelMap::of_model({"Up", "Up"}).id("up"), 1);
  const ClassifyData data = parse_classify(csv("text,label\na,x\nb,y\n"));
  const std::vector<ClassifyPrediction> predictions = {{{0}, {0.5, 0.1, 0.2, 0.2}}, {{3}, {0, 0, 0, 1}}};
  EXPECT_EQ(classify_metrics(data, labels, predictions)["accuracy"], 1.0);
  const ScratchDirectory directory;
  write_classify_predictions(directory.path(), "p", data, labels, predictions);
  EXPECT_EQ(testing::read_json_lines(directory / "p_predictions.jsonl").at(0)["scores"],
            Json({{"x", 0.5}, {"X", 0.1}, {"y", 0.2}}));
}

TEST(Labels, DataMeetsCheckpoint) {
  const Names generic = {"LABEL_0", "LABEL_1"};
  const auto choose = [](const Names& found, const Names& checkpoint, bool training, bool replace = false) {
    return choose_labels(found, checkpoint, training, replace, "data.csv");
  };
  LabelChoice choice = choose({"a", "b", "c"}, generic, true);
  EXPECT_THAT(choice.labels.names(), ElementsAre("a", "b", "c"));
  EXPECT_TRUE(choice.replaced);
  EXPECT_FALSE(choose({"a", "b"}, generic, true).replaced);
  EXPECT_THAT(choose({"1"}, generic, false).labels.names(), ElementsAre("LABEL_0", "LABEL_1"));
  EXPECT_EQ(choose({"1"}, generic, false).labels.id("1"), 1);
  EXPECT_THAT(choose({"x", "y"}, generic, false).labels.names(), ElementsAre("x", "y"));
  choice = choose({"a"}, {"b", "a"}, false);
  EXPECT_EQ(choice.labels.id("a"), 1) << "the checkpoint's order wins";
  EXPECT_FALSE(choice.replaced);
  choice = choose({"c", "d"}, {"b", "a"}, true, true);
  EXPECT_THAT(choice.labels.names(), ElementsAre("c", "d"));
  EXPECT_TRUE(choice.replaced);
}

TEST(TokenRows, PaddingOnEitherSide) {
  for (const text::Side side : {text::Side::kRight, text::Side::kLeft}) {
    const text::Tokenizer tokenizer = letters_tokenizer(side);
    const TokenRows rows = encode_rows(tokenizer, {"the dog", "a"}, {".", "the dog the dog"}, 7, 1);
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows.length(0), 6u);
    EXPECT_EQ(rows.length(1), 7u) << "cut from 8, the longer text first";
    EXPECT_EQ(rows.longest(), 7u);
    std::vector<int64_t> ids(8), mask(8), types(8);
    rows.fill(0, ids, mask, types);
    const size_t first = side == text::Side::kRight ? 0 : 2;
    EXPECT_EQ(rows.first_column(0, 8), first);
    EXPECT_EQ(ids[first], tokenizer.cls_id());
    EXPECT_EQ(ids[first + 5], tokenizer.sep_id());
    EXPECT_EQ(std::accumulate(mask.begin(), mask.end(), 0), 6);
    EXPECT_EQ(std::accumulate(types.begin(), types.end(), 0), 2) << ". and [SEP]";
    EXPECT_EQ(mask[side == text::Side::kRight ? 7 : 0], 0);
    EXPECT_EQ(ids[side == text::Side::kRight ? 7 : 0], tokenizer.pad_id());
  }
}

TEST(ClassifyEvaluation, PredictionsOfEachKind) {
  const std::vector<float> logits = {0, 2, 2, -1, 3, 1};
  auto predictions = classify_predictions(logits, 3, ClassifyKind::kSingleLabel);
  EXPECT_THAT(predictions[0].labels, ElementsAre(1)) << "equal logits: the smaller label";
  EXPECT_THAT(predictions[1].labels, ElementsAre(1));
  const double e2 = std::exp(2.0);
  EXPECT_NEAR(predictions[0].scores[0], 1 / (1 + 2 * e2), 1e-15);
  predictions = classify_predictions(logits, 3, ClassifyKind::kMultiLabel);
  EXPECT_THAT(predictions[0].labels, ElementsAre(1, 2)) << "0 is not above 0";
  EXPECT_NEAR(predictions[1].scores[0], 1 / (1 + std::exp(1.0)), 1e-15);
  predictions = classify_predictions(logits, 1, ClassifyKind::kRegression);
  EXPECT_EQ(predictions[4].scores[0], 3);
}

TEST(ClassifyEvaluation, SeveralLabelsAgreeWithCounting) {
  const ClassifyData data =
      parse_classify(lines("{\"text\":\"\",\"label\":[\"a\",\"b\"]}\n"
                           "{\"text\":\"\",\"label\":[\"b\"]}\n"
                           "{\"text\":\"\",\"label\":[]}"));
  const LabelMap labels({"a", "b", "c"});
  // Predicted: {a}, {b}, {b}. a: TP 1 FP 0 FN 0; b: TP 1 FP 1 FN 1; c: nothing.
  const auto predictions =
      classify_predictions(std::vector<float>{1, -1, -1, -1, 1, -1, -1, 1, -1}, 3, ClassifyKind::kMultiLabel);
  const Json metrics = classify_metrics(data, labels, predictions);
  EXPECT_DOUBLE_EQ(metrics["accuracy"].get<double>(), 1.0 / 3);
  EXPECT_DOUBLE_EQ(metrics["f1_micro"].get<double>(), 2.0 * 2 / (2 * 2 + 1 + 1));
  EXPECT_DOUBLE_EQ(metrics["f1_macro"].get<double>(), (1 + 0.5 + 0) / 3);
}

TEST(ClassifyEvaluation, MetricsAndFiles) {
  const ClassifyData data = parse_classify(csv("sentence1,sentence2,label\na,b,no\nc,d,yes\ne,f,yes\n"));
  const LabelMap labels({"no", "yes"});
  const auto predictions =
      classify_predictions(std::vector<float>{1, 0, 0, 1, 1, 0}, 2, ClassifyKind::kSingleLabel);
  const Json metrics = classify_metrics(data, labels, predictions);
  EXPECT_DOUBLE_EQ(metrics["accuracy"].get<double>(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(metrics["f1"].get<double>(), 2.0 / 3) << "of yes: one of two found, none wrong";
  const ScratchDirectory directory;
  write_classify_predictions(directory.path(), "predict", data, labels, predictions);
  EXPECT_EQ(read_file(directory / "predict_results.txt"), "index\tprediction\n0\tno\n1\tyes\n2\tno\n");
  const Json first = testing::read_json_lines(directory / "predict_predictions.jsonl").at(0);
  EXPECT_EQ(first["second"], "b");
  EXPECT_EQ(first["label"], "no");
  EXPECT_NEAR(first["scores"]["yes"].get<double>(), 1 / (1 + std::exp(1.0)), 1e-12);
}

TEST(ClassifyEvaluation, Numbers) {
  const ClassifyData data = parse_classify(csv("text,label\na,1.5\nb,2\nc,4\n"));
  const Json metrics = classify_metrics(
      data, {}, classify_predictions(std::vector<float>{1, 2, 3}, 1, ClassifyKind::kRegression));
  EXPECT_DOUBLE_EQ(metrics["mse"].get<double>(), (0.25 + 0 + 1) / 3);
  EXPECT_DOUBLE_EQ(metrics["spearmanr"].get<double>(), 1);
  EXPECT_TRUE(classify_metrics(
                  data, {},
                  classify_predictions(std::vector<float>{1, 1, 1}, 1, ClassifyKind::kRegression))["pearson"]
                  .is_null());
}

}  // namespace
}  // namespace qdqbert::tasks
