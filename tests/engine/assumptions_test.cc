// Graphs that are what they seem for short texts and something else for longer ones: packed where it holds, as
// the file is written elsewhere, and never one for the other.
#include <filesystem>
#include <functional>
#include <thread>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/onnx/writer.h"

#include "tests/engine/compare_unpacked.h"
#include "tests/engine/graph_edit.h"
#include "tests/onnx/random_bert.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::engine {
namespace {

namespace fs = std::filesystem;
using onnx::GraphHead;
using onnx::GraphPositions;
using testing::Both;
using testing::GraphEdit;
using testing::kOrderOfSums;
using testing::largest_difference;
using testing::RandomBert;
using testing::RandomBertOptions;
using testing::Request;

class Assumptions : public ::testing::Test {
 protected:
  /// A float model of 64 positions, changed.
  Both made(const std::function<void(GraphEdit&)>& change, RandomBertOptions options = {}) {
    options.quantized = false;
    if (options.head == GraphHead::kQuestionAnswering) options.head = GraphHead::kBase;
    onnx::Model model = onnx::build_bert_graph(RandomBert(options).source());
    GraphEdit edit(model);
    change(edit);
    onnx::write_model(model, scratch_ / "model.onnx");
    return Both(scratch_ / "model.onnx");
  }

  /// Alone, padded and with holes, at lengths up to `longest`.
  void expect_equal(const Both& both, size_t longest = 64) {
    ASSERT_TRUE(both.session.packed()) << both.session.plan()[0].note;
    for (const size_t length : {size_t{1}, size_t{6}, size_t{9}, size_t{17}, size_t{40}, longest}) {
      if (length > longest) continue;
      SCOPED_TRACE(length);
      EXPECT_LE(largest_difference(both, Request(1, length)), kOrderOfSums);
      EXPECT_LE(largest_difference(both, Request(3, length).pad(length / 4)), kOrderOfSums);
      EXPECT_LE(largest_difference(both, Request(3, length).holes(5)), kOrderOfSums);
    }
  }

  ScratchDirectory scratch_;
};

/// [S, S] of query - key.
std::string differences(GraphEdit& edit) {
  const std::string positions = edit.positions();
  return edit.before("Sub", {edit.before("Unsqueeze", {positions, edit.integers({1})}),
                             edit.before("Unsqueeze", {positions, edit.integers({0})})});
}

/// Makes the mask's bias anew from [.., S or 1, S] booleans that are joined with the mask.
void mask_also_by(GraphEdit& edit, const std::string& kept) {
  const std::string wide = edit.before(
      "Cast", {edit.before("Unsqueeze", {"attention_mask", edit.integers({1, 2})})}, {{"to", {9}}});
  const std::string all = edit.before("And", {wide, kept});
  edit.redirect(edit.mask_bias(), edit.before("Where", {all, edit.number(0), edit.number(-1e30f)}));
}

TEST_F(Assumptions, LocalWindows) {
  expect_equal(made([](GraphEdit& edit) {
    mask_also_by(edit,
                 edit.before("LessOrEqual", {edit.before("Abs", {differences(edit)}), edit.integer(8)}));
  }));
}

TEST_F(Assumptions, CausalWithinAWindow) {
  expect_equal(made([](GraphEdit& edit) {
    const std::string distance = differences(edit);
    const std::string causal = edit.before("GreaterOrEqual", {distance, edit.integer(0)});
    mask_also_by(edit, edit.before("And", {causal, edit.before("Less", {distance, edit.integer(12)})}));
  }));
}

TEST_F(Assumptions, Blocks) {
  expect_equal(made([](GraphEdit& edit) {
    const std::string block = edit.before("Div", {edit.positions(), edit.integer(16)});
    mask_also_by(edit, edit.before("Equal", {edit.before("Unsqueeze", {block, edit.integers({1})}),
                                             edit.before("Unsqueeze", {block, edit.integers({0})})}));
  }));
}

/// A key is seen by everybody, whatever its own mask says, once many are kept.
TEST_F(Assumptions, MasksThatDependOnOtherTokens) {
  expect_equal(made([](GraphEdit& edit) {
    const std::string kept =
        edit.before("ReduceSum", {"attention_mask", edit.integers({1})}, {{"keepdims", {1}}});
    const std::string many = edit.before("Greater", {kept, edit.integer(20)});
    const std::string first = edit.before("Less", {edit.positions(), edit.integer(3)});
    const std::string mask = edit.before("Cast", {"attention_mask"}, {{"to", {9}}});
    const std::string all = edit.before(
        "Unsqueeze", {edit.before("Or", {mask, edit.before("And", {many, first})}), edit.integers({1, 2})});
    edit.redirect(edit.mask_bias(), edit.before("Where", {all, edit.number(0), edit.number(-1e30f)}));
  }));
}

TEST_F(Assumptions, TypesByPosition) {
  expect_equal(made([](GraphEdit& edit) {
    const std::string late = edit.before("Greater", {edit.positions(), edit.integer(10)});
    const std::string types = edit.before("Cast", {late}, {{"to", {7}}});
    edit.redirect("token_type_ids", edit.before("Unsqueeze", {types, edit.integers({0})}));
    edit.remove_input("token_type_ids");
  }));
}

/// The table may end before the texts that are asked for.
TEST_F(Assumptions, ClippedPositions) {
  RandomBertOptions options;
  options.positions = 10;
  const Both both = made(
      [&](GraphEdit& edit) {
        const std::string positions = edit.before("Min", {edit.positions(), edit.integer(9)});
        const std::string rows = edit.before("Gather",
                                             {"embeddings.position_embeddings.weight",
                                              edit.before("Unsqueeze", {positions, edit.integers({0})})},
                                             {{"axis", {0}}});
        for (const auto& node : edit.graph().node())
          if (node.name() != rows && node.input_size() > 0 && node.output(0) != rows &&
              node.input(0) == "embeddings.position_embeddings.weight")
            return edit.redirect(node.output(0), rows);
      },
      options);
  EXPECT_GT(both.session.longest_text(), 10u);
  expect_equal(both, 40);
}

TEST_F(Assumptions, ClippedDistances) {
  for (const GraphPositions kind : {GraphPositions::kRelativeKey, GraphPositions::kRelativeKeyQuery}) {
    RandomBertOptions options;
    options.positions = 17;
    options.position_kind = kind;
    const Both both = made(
        [](GraphEdit& edit) {
          const std::string low = edit.before("Max", {differences(edit), edit.integer(-16)});
          const std::string index =
              edit.before("Add", {edit.before("Min", {low, edit.integer(16)}), edit.integer(16)});
          for (auto& node : *edit.graph().mutable_node())
            if (node.op_type() == "Gather" && node.input(0).find("distance") != std::string::npos)
              node.set_input(1, index);
        },
        options);
    EXPECT_GT(both.session.longest_text(), 17u);
    expect_equal(both, 40);
  }
}

TEST_F(Assumptions, WhatEndsWithItsTableStillDoes) {
  for (const GraphPositions kind : {GraphPositions::kAbsolute, GraphPositions::kRelativeKey}) {
    RandomBertOptions options;
    options.position_kind = kind;
    const Both both = made([](GraphEdit&) {}, options);
    EXPECT_EQ(both.session.longest_text(), 64u);
    expect_equal(both);
    const Request request(1, 65);
    EXPECT_THROW(both.session.run(request.view()), InputError);
  }
}

/// Packed texts, of which some hold and some do not, together and alone.
TEST_F(Assumptions, PackedTextsAreAnsweredAsAlone) {
  for (const bool vocabulary : {false, true}) {
    RandomBertOptions options;
    options.head = vocabulary ? GraphHead::kLanguageModel : GraphHead::kSequenceClassification;
    options.vocabulary = 1100;
    const Both both = made(
        [](GraphEdit& edit) {
          mask_also_by(
              edit, edit.before("LessOrEqual", {edit.before("Abs", {differences(edit)}), edit.integer(8)}));
        },
        options);
    ASSERT_TRUE(both.session.packed());
    std::vector<int32_t> ids;
    std::vector<uint32_t> offsets = {0}, wanted;
    for (const uint32_t length : {4u, 30u, 9u, 12u}) {
      for (uint32_t t = 0; t < length; ++t) ids.push_back(static_cast<int32_t>((t * 7 + length) % 100));
      offsets.push_back(static_cast<uint32_t>(ids.size()));
      if (vocabulary) wanted.push_back(offsets.back() - 2);
    }
    PackedTexts texts{ids, {}, offsets};
    texts.wanted = wanted;
    const std::vector<Output> all = both.session.run(texts);
    const auto columns = static_cast<size_t>(all[0].shape.back());
    EXPECT_EQ(all[0].shape.front(), 4);
    for (size_t b = 0; b < 4; ++b) {
      const std::span<const int32_t> own(ids.data() + offsets[b], offsets[b + 1] - offsets[b]);
      const std::vector<int64_t> wide(own.begin(), own.end());
      const auto alone = both.reference.run(PaddedBatch<int64_t>{1, wide.size(), wide, {}, {}});
      const size_t row = vocabulary ? wide.size() - 2 : 0;
      for (size_t j = 0; j < columns; ++j)
        EXPECT_NEAR(all[0].values[b * columns + j], alone[0].values[row * columns + j], kOrderOfSums);
    }
  }
}

TEST_F(Assumptions, AreCheckedByManyThreadsAndSaidOnce) {
  int warnings = 0;
  const LogSink before = set_log_sink([&](LogLevel level, std::string_view line) {
    warnings += level == LogLevel::kWarning && line.find("unpacked") != std::string_view::npos;
  });
  const Both both = made([](GraphEdit& edit) {
    mask_also_by(edit,
                 edit.before("LessOrEqual", {edit.before("Abs", {differences(edit)}), edit.integer(8)}));
  });
  std::vector<std::thread> threads;
  std::vector<float> worst(4);
  for (size_t i = 0; i < worst.size(); ++i)
    threads.emplace_back([&, i] {
      for (const size_t length : {5, 12, 20, 7})
        worst[i] = std::max(worst[i], largest_difference(both, Request(2, length, 7).pad(2)));
    });
  for (std::thread& thread : threads) thread.join();
  set_log_sink(before);
  for (const float one : worst) EXPECT_LE(one, kOrderOfSums);
  EXPECT_EQ(warnings, 1);
}

}  // namespace
}  // namespace qdqbert::engine
