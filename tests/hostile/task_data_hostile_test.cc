// Files of the other tasks that are damaged, incomplete or contradict themselves or the checkpoint: each is
// refused with one sentence that names the file and the line.
#include <functional>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/tasks/choice_features.h"
#include "qdqbert/tasks/classify_evaluation.h"
#include "qdqbert/tasks/lm_dataset.h"
#include "qdqbert/tasks/tag_features.h"

#include "tests/support/refusal.h"
#include "tests/support/scratch_directory.h"
#include "tests/tasks/letters_tokenizer.h"

namespace qdqbert::tasks {
namespace {

using testing::refusal;

#define EXPECT_REFUSED(expression, word)                                     \
  do {                                                                       \
    const std::string message = refusal([&] { (void)(expression); });        \
    EXPECT_NE(message.find(word), std::string::npos) << "said: " << message; \
  } while (false)

RecordFile records(const std::string& text, RecordFormat format = RecordFormat::kCsv) {
  return parse_records(text, format, "f");
}

TEST(RecordsHostile, BrokenFiles) {
  EXPECT_REFUSED(records(""), "no examples");
  EXPECT_REFUSED(records("text,label\n"), "no examples");
  EXPECT_REFUSED(records("text,text\na,b\n"), "twice");
  EXPECT_REFUSED(records("text,label\nopen,\"x\n"), "never closed");
  EXPECT_REFUSED(records("text,label\na\n"), "line 2");
  EXPECT_REFUSED(records("text,label\n\xff,a\n"), "UTF-8");
  EXPECT_REFUSED(records("a\tb\n1\n", RecordFormat::kTsv), "f:2");
  EXPECT_REFUSED(records("{\"a\":1}\n[1]\n", RecordFormat::kJsonLines), "f:2");
  EXPECT_REFUSED(records("{\"a\":1}\n{\"a\":\n", RecordFormat::kJsonLines), "f:2");
  EXPECT_REFUSED(records("{\n\"rows\":[]}", RecordFormat::kJson), "data");
  EXPECT_REFUSED(records("[1]", RecordFormat::kJson), "f:1");
  EXPECT_REFUSED(records("[", RecordFormat::kJson), "f");
  EXPECT_REFUSED(records(std::string(100000, '['), RecordFormat::kJson), "f");
  const ScratchDirectory directory;
  EXPECT_REFUSED(read_records(directory / "a.xlsx"), ".csv");
  EXPECT_THROW(read_records(directory / "absent.csv"), SystemError);
}

TEST(ClassifyHostile, ColumnsAndLabels) {
  EXPECT_REFUSED(parse_classify(records("text,category\na,x\n")), "--label_column_name");
  EXPECT_REFUSED(parse_classify(records("id,label\n1,x\n")), "--text_column_names");
  EXPECT_REFUSED(parse_classify(records("text,label\na,x\n"), {.text = {"txt"}}), "\"txt\"");
  EXPECT_REFUSED(parse_classify(records("a,b,c,label\n1,2,3,x\n"), {.text = {"a", "b", "c"}}), "delimiter");
  EXPECT_REFUSED(parse_classify(records("text,label\na,\nb,-1\n")), "no row has a label");
  const auto lines = [](const std::string& text) { return records(text, RecordFormat::kJsonLines); };
  EXPECT_REFUSED(parse_classify(lines("{\"text\":\"a\",\"label\":\"x\"}\n{\"label\":\"x\"}")), "f:2");
  EXPECT_REFUSED(parse_classify(lines("{\"text\":[1],\"label\":\"x\"}")), "must be a text");
  EXPECT_REFUSED(parse_classify(lines("{\"text\":\"a\",\"label\":{}}")), "a label must be");
  EXPECT_REFUSED(
      parse_classify(lines("{\"text\":\"a\",\"label\":[\"x\"]}"), {.kind = ClassifyKind::kSingleLabel}),
      "--multi_label");
}

TEST(ClassifyHostile, RegressionWithTextsOrInfinities) {
  const ClassifyColumns regression{.kind = ClassifyKind::kRegression};
  EXPECT_REFUSED(parse_classify(records("text,label\na,1\nb,good\n"), regression), "f:3");
  EXPECT_REFUSED(parse_classify(records("text,label\na,inf\n"), regression), "f:2");
  EXPECT_REFUSED(parse_classify(records("text,label\na,nan\n"), regression), "f:2");
  EXPECT_REFUSED(parse_classify(records("text,label\na,1x\n"), regression), "f:2");
}

TEST(ClassifyHostile, LabelSetsThatDoNotMatch) {
  using Names = std::vector<std::string>;
  const auto choose = [](const Names& found, const Names& checkpoint, bool training) {
    return choose_labels(found, checkpoint, training, false, "f");
  };
  EXPECT_REFUSED(choose({"a", "z"}, {"a", "b"}, true), "--ignore_mismatched_sizes");
  EXPECT_REFUSED(choose({"a", "z"}, {"a", "b"}, false), "\"z\"");
  EXPECT_REFUSED(choose({"2"}, {"LABEL_0", "LABEL_1"}, false), "cannot be told");
  EXPECT_REFUSED(choose({"x", "y", "z"}, {"LABEL_0", "LABEL_1"}, false), "3 labels");
  EXPECT_REFUSED(choose({}, {"LABEL_0", "LABEL_1"}, true), "no labels");
  EXPECT_REFUSED(choose({"x"}, {"LABEL_0", "LABEL_1"}, true), "at least two");
  EXPECT_REFUSED(choose({"0"}, {"LABEL_0"}, false), "predicts a number");
  EXPECT_REFUSED(LabelMap({"a", "a"}), "twice");
  const ClassifyData data = parse_classify(records("text,label\na,x\nb,q\n"));
  const auto predictions =
      classify_predictions(std::vector<float>{1, 0, 0, 1}, 2, ClassifyKind::kSingleLabel);
  EXPECT_REFUSED(classify_metrics(data, LabelMap({"x", "y"}), predictions), "f:3");
}

TEST(ClassifyHostile, LogitsThatAreNoNumbers) {
  const std::vector<float> logits = {0, 1, NAN, 1};
  EXPECT_REFUSED(classify_predictions(logits, 2, ClassifyKind::kSingleLabel), "example 1");
  EXPECT_REFUSED(classify_predictions(logits, 3, ClassifyKind::kSingleLabel), "4 logits");
}

TEST(TagHostile, RaggedColumns) {
  EXPECT_REFUSED(parse_conll("a B-X\nb O\n\nc\n", "f"), "f:4");
  EXPECT_REFUSED(parse_conll("a B-X\nb O O\n", "f"), "f:2");
  EXPECT_REFUSED(parse_conll("a\tO\nb\n", "f"), "f:2");
  EXPECT_REFUSED(parse_conll("a\tO\nb\t\n", "f"), "f:2");
  EXPECT_REFUSED(parse_conll("a\tO\n\tO\n", "f"), "f:2");
  EXPECT_REFUSED(parse_conll("a\nb\n", "f"), "one column");
  EXPECT_REFUSED(parse_conll("\n\n", "f"), "no sentences");
  EXPECT_REFUSED(parse_conll("-DOCSTART- -X- O\n", "f"), "no sentences");
  EXPECT_REFUSED(parse_conll("\xc3\tO\n", "f"), "UTF-8");
}

TEST(TagHostile, RecordsAndLabels) {
  const auto parse = [](const std::string& text) {
    return parse_tag_records(records(text, RecordFormat::kJsonLines));
  };
  EXPECT_REFUSED(parse(R"({"tokens":["a","b"],"ner_tags":["O"]})"), "2 words, 1 tags");
  EXPECT_REFUSED(parse(R"({"tokens":"a b","ner_tags":["O"]})"), "f:1");
  EXPECT_REFUSED(parse(R"({"tokens":["a"],"ner_tags":[1.5]})"), "1.5");
  EXPECT_REFUSED(parse(R"({"tokens":[],"ner_tags":["O"]})"), "0 words, 1 tags");
  EXPECT_REFUSED(parse(R"({"tokens":["a"]})"), "--label_column_name");
  EXPECT_REFUSED(parse(R"({"tokens":["a"],"ner_tags":null})"), "no sentence has tags");
  EXPECT_REFUSED(parse(R"({"tokens":["a"],"ner_tags":[-100]})"), "no word has a tag");
  const TagData data = parse_conll("a O\n\nb B-X\n", "f");
  EXPECT_REFUSED(TagFeatures::build(data, LabelMap({"O", "B-Y"}), letters_tokenizer(), {}), "f:3");
  const LabelMap labels({"O", "B-X"});
  const TagFeatures features = TagFeatures::build(data, labels, letters_tokenizer(), {});
  EXPECT_REFUSED(predict_tags(features, 0, 1, std::vector<float>(4), labels), "3 tokens");
  EXPECT_REFUSED(predict_tags(features, 0, 1, std::vector<float>(6, NAN), labels), "not numbers");
  EXPECT_REFUSED(read_tags("tags.csv"), ".conll");
}

TEST(ChoiceHostile, ChoicesAndAnswers) {
  const auto parse = [](const std::string& text) {
    return parse_choices(records(text, RecordFormat::kJsonLines));
  };
  EXPECT_REFUSED(parse(R"({"prompt":"p","choices":[],"answer":0})"), "no choices");
  EXPECT_REFUSED(parse(R"({"prompt":"p","choices":["a"],"answer":1})"), "number 1");
  EXPECT_REFUSED(parse(R"({"prompt":"p","choices":["a"],"answer":-2})"), "number -2");
  EXPECT_REFUSED(parse(R"({"prompt":"p","choices":["a"],"answer":"z"})"), "\"z\"");
  EXPECT_REFUSED(parse(R"({"prompt":"p","choices":["a"]})"), "no answer");
  EXPECT_REFUSED(parse(R"({"prompt":"p","choices":"a","answer":0})"), "choices");
  EXPECT_REFUSED(parse(R"({"prompt":"p","choices":["a",3],"answer":0})"), "found 3");
  EXPECT_REFUSED(parse(R"({"choices":["a"],"answer":0})"), "prompt");
  EXPECT_REFUSED(parse(R"({"question":{"stem":"s","choices":[{"label":"A","text":"t"}]},"answerKey":"Z"})"),
                 "\"Z\"");
  EXPECT_REFUSED(parse(R"({"question":{"stem":"s"},"answerKey":"A"})"), "choices");
  const std::string one = "{\"id\":\"7\",\"prompt\":\"p\",\"choices\":[\"a\"],\"answer\":0}\n";
  EXPECT_REFUSED(parse(one + one), "twice");
  EXPECT_REFUSED(parse_codah("n\tp\t0\n", "f"), "3 fields");
  EXPECT_REFUSED(parse_codah("n\tp\ta\tb\tc\n", "f"), "\"c\"");
  EXPECT_REFUSED(parse_codah("n\tp\ta\tb\t2\n", "f"), "number 2");
  const ChoiceFeatures features = ChoiceFeatures::build(parse(one), letters_tokenizer(), 16);
  EXPECT_REFUSED(choice_predictions(features, {1, 2}), "2 logits");
  EXPECT_REFUSED(choice_predictions(features, {NAN}), "example 0");
}

TEST(LmHostile, TextsAndPairs) {
  const ScratchDirectory directory;
  EXPECT_REFUSED(LmBlocks::build({"a"}, letters_tokenizer(), {.max_length = 3}), "too short");
  EXPECT_REFUSED(make_sentence_pairs({"a", "", "b"}, 1), "two sentences");
  EXPECT_REFUSED(make_sentence_pairs({}, 1), "two sentences");
}

TEST(TaskData, EmptyTextsAreTokenizedAsTheyAre) {
  EXPECT_EQ(encode_rows(letters_tokenizer(), {""}, {}, 16, 1).length(0), 2u);
  EXPECT_EQ(encode_rows(letters_tokenizer(), {""}, {""}, 16, 1).length(0), 3u);
  EXPECT_EQ(encode_rows(letters_tokenizer(), {}, {}, 16, 1).size(), 0u);
}

}  // namespace
}  // namespace qdqbert::tasks
