// Answers of files without a mask: they must not depend on which texts are asked together.
#include <memory>

#include <gtest/gtest.h>

#include "qdqbert/onnx/writer.h"
#include "qdqbert/pipeline/span_model.h"
#include "qdqbert/pipeline/text_model.h"
#include "qdqbert/tasks/squad_features.h"
#include "qdqbert/text/tokenizer.h"

#include "tests/engine/graph_edit.h"
#include "tests/onnx/random_bert.h"
#include "tests/support/refusal.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::pipeline {
namespace {

using testing::GraphEdit;
using testing::RandomBert;
using testing::RandomBertOptions;

/// A model whose only input is input_ids; every token sees every other, padding included.
engine::Session only_ids(const ScratchDirectory& scratch, onnx::GraphHead head, bool declared = false) {
  RandomBertOptions options;
  options.head = head;
  options.quantized = false;
  onnx::Model model = onnx::build_bert_graph(RandomBert(options).source());
  GraphEdit edit(model);
  const std::string ones = edit.before("Mul", {"input_ids", edit.integer(0)});
  edit.redirect("attention_mask", edit.before("Add", {ones, edit.integer(1)}));
  edit.redirect("token_type_ids", ones);
  if (!declared) edit.remove_input("attention_mask");
  edit.remove_input("token_type_ids");
  onnx::write_model(model, scratch / "model.onnx");
  return engine::Session(scratch / "model.onnx");
}

TEST(Company, TextsWithoutAMaskAreAnsweredAsAlone) {
  const ScratchDirectory scratch;
  const engine::Session session = only_ids(scratch, onnx::GraphHead::kTokenClassification);
  ASSERT_FALSE(session.hides_padding());
  const TextModel model(session, "test", "logits", true, 1000);
  std::vector<text::Encoding> texts(4);
  for (size_t b = 0; b < texts.size(); ++b)
    for (size_t t = 0; t < 3 + 4 * (b % 3); ++t) {
      texts[b].ids.push_back(static_cast<int32_t>(5 + 7 * t + b));
      texts[b].type_ids.push_back(0);
    }
  std::vector<const text::Encoding*> all;
  for (const text::Encoding& text : texts) all.push_back(&text);
  const auto together = model.run(all, {});
  for (size_t b = 0; b < texts.size(); ++b)
    EXPECT_EQ(together[b].values, model.run({&all[b], 1}, {})[0].values) << "text " << b;
}

/// Of a question about a short text and one about a longer.
tasks::SquadFeatures two_windows() {
  std::vector<std::string> words = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (char letter = 'a'; letter <= 'z'; ++letter) words.emplace_back(1, letter);
  const text::Tokenizer tokenizer(text::Vocabulary(std::move(words), "test"), {});
  std::vector<tasks::SquadExample> examples(2);
  for (size_t i = 0; i < 2; ++i) {
    examples[i].id = std::to_string(i);
    examples[i].context = std::make_shared<const std::string>(i == 0 ? "a b c" : "d e f g h i j k l m n o");
    examples[i].title = examples[i].context;
    examples[i].question = "q r";
  }
  tasks::FeatureOptions options;
  options.max_length = 32;
  options.stride = 8;
  options.pad_to_max_length = false;
  options.labels = false;
  return tasks::SquadFeatures::build(examples, tokenizer, options, 1);
}

TEST(Company, WindowsWithoutAMaskAreAnsweredAsAlone) {
  const ScratchDirectory scratch;
  // Its mask is an input that nothing reads.
  const engine::Session session = only_ids(scratch, onnx::GraphHead::kQuestionAnswering, true);
  const SpanModel model(session, "test");
  const tasks::SquadFeatures features = two_windows();
  std::vector<FeatureRow> rows;
  for (size_t f = 0; f < features.size(); ++f) rows.push_back({&features, f});
  ASSERT_NE(rows.front().length(), rows.back().length());
  const auto together = model.run(rows), padded = model.run_padded(rows, 32);
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto alone = model.run({&rows[r], 1});
    EXPECT_EQ(together[r].start, alone[0].start) << "window " << r;
    EXPECT_EQ(padded[r].end, alone[0].end) << "window " << r;
  }
}

/// Weights that are finite, and so large that sums are not.
TEST(Company, ResultsThatAreNoNumbersAreRefused) {
  const ScratchDirectory scratch;
  RandomBertOptions options;
  options.head = onnx::GraphHead::kQuestionAnswering;
  options.quantized = false;
  RandomBert bert(options);
  OwnedTensor& head = bert.weights.at("qa_outputs.weight");
  auto* values = reinterpret_cast<float*>(head.data.data());
  for (size_t i = 0; i < head.data.size() / sizeof(float); ++i) values[i] = 3e38f;
  onnx::write_model(onnx::build_bert_graph(bert.source()), scratch / "model.onnx");
  const engine::Session session(scratch / "model.onnx");
  const tasks::SquadFeatures features = two_windows();
  const FeatureRow row{&features, 0};
  const std::string text = testing::refusal([&] { SpanModel(session, "test").run({&row, 1}); });
  EXPECT_NE(text.find("output"), std::string::npos) << text;
  EXPECT_NE(testing::refusal([&] { SpanModel(session, "test").run_padded({&row, 1}, 20); }), "");
  EXPECT_NE(testing::refusal([&] { TextModel(session, "test", session.output_names()[0], false, 100); }), "");
}

}  // namespace
}  // namespace qdqbert::pipeline
