// Everything that our exporter can write, in a session: against the same file in reference operators.
#include <cmath>
#include <filesystem>
#include <random>

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "qdqbert/engine/session.h"
#include "qdqbert/onnx/writer.h"

#include "tests/engine/machine_isas.h"
#include "tests/onnx/random_bert.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::engine {
namespace {

namespace fs = std::filesystem;
using onnx::ActivationGraph;
using onnx::GraphHead;
using onnx::GraphPositions;
using testing::RandomBert;
using testing::RandomBertOptions;

struct Compared {
  size_t values = 0, differing = 0;
};

/// The session with its default kernels beside reference operators, over a padded batch of different lengths.
Compared compare(const fs::path& file, bool by_choices, bool expect_packed, float tolerance = 2e-5f) {
  SessionOptions plain;
  plain.general_mask = true;
  const Session session(file), reference(file, plain);
  EXPECT_EQ(session.packed(), expect_packed) << session.plan()[0].note;
  const size_t batch = 4, length = 13;
  std::mt19937 random(3);
  std::vector<int64_t> ids(batch * length), mask(batch * length), types(batch * length);
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int64_t>(random() % 100);
    mask[i] = i % length < length - 3 * (i / length) ? 1 : 0;
    types[i] = i % length > 5 ? 1 : 0;
  }
  PaddedBatch<int64_t> inputs{batch, length, ids, mask, types};
  if (by_choices) inputs.choices = 2;
  const std::vector<Output> a = session.run(inputs), b = reference.run(inputs);
  Compared result;
  EXPECT_EQ(a.size(), b.size());
  for (size_t o = 0; o < a.size() && o < b.size(); ++o) {
    EXPECT_EQ(a[o].name, b[o].name);
    EXPECT_EQ(a[o].shape, b[o].shape) << a[o].name;
    const bool by_token = a[o].shape.size() >= 2 && a[o].shape[1] == static_cast<int64_t>(length);
    const size_t columns = by_token ? a[o].values.size() / mask.size() : 1;
    for (size_t j = 0; j < a[o].values.size() && j < b[o].values.size(); ++j) {
      if (by_token && mask[j / columns] == 0) continue;
      ++result.values;
      if (!(std::fabs(a[o].values[j] - b[o].values[j]) <= tolerance)) ++result.differing;
    }
  }
  EXPECT_GT(result.values, 0u);
  return result;
}

Compared compare(const RandomBertOptions& options, const onnx::BertGraphOptions& graph,
                 bool expect_packed = true) {
  const ScratchDirectory scratch;
  const fs::path file = scratch.path() / "model.onnx";
  const RandomBert model(options);
  onnx::write_model(onnx::build_bert_graph(model.source(), graph), file);
  return compare(file, options.head == GraphHead::kMultipleChoice, expect_packed);
}

/// A code next to a rounding tie may fall the other way, and then moves every later value of its text a
/// little. Without that, nothing differs; a wrong graph differs everywhere.
void expect_equal_but_for_ties(const Compared& found) {
  EXPECT_LE(found.differing * 2, found.values);
}

constexpr GraphHead kHeads[] = {GraphHead::kBase,
                                GraphHead::kQuestionAnswering,
                                GraphHead::kSequenceClassification,
                                GraphHead::kTokenClassification,
                                GraphHead::kMultipleChoice,
                                GraphHead::kNextSentence,
                                GraphHead::kLanguageModel};

TEST(Exports, AllHeadsQuantizedAndInFloat) {
  for (const GraphHead head : kHeads)
    for (const bool quantized : {true, false})
      for (const int opset : {13, 17}) {
        SCOPED_TRACE(::testing::Message() << "head " << static_cast<int>(head) << " quantized " << quantized
                                          << " opset " << opset);
        RandomBertOptions options;
        options.head = head;
        options.quantized = quantized;
        const Compared found = compare(options, {.opset = opset});
        if (quantized)
          expect_equal_but_for_ties(found);
        else
          EXPECT_EQ(found.differing, 0u);
      }
}

/// Outputs of texts of 13, 10, 7 and 4 tokens, one text after the other: padded together, or each by itself.
std::vector<std::vector<float>> by_text(const Session& session, bool together) {
  const size_t length = 13;
  std::vector<std::vector<float>> all;
  std::vector<int64_t> ids, mask, types;
  for (size_t b = 0; b < 4; ++b) {
    const size_t kept = length - 3 * b;
    std::vector<int64_t> own_ids, own_types;
    for (size_t s = 0; s < length; ++s) {
      ids.push_back(static_cast<int64_t>((b * 31 + s * 17) % 100));
      types.push_back(s > 5 ? 1 : 0);
      mask.push_back(s < kept ? 1 : 0);
      if (s >= kept) continue;
      own_ids.push_back(ids.back());
      own_types.push_back(types.back());
    }
    if (together) continue;
    all.emplace_back();
    PaddedBatch<int64_t> one{1, kept, own_ids, {}, own_types};
    if (session.by_choices()) one.choices = 1;
    for (const Output& output : session.run(one))
      all.back().insert(all.back().end(), output.values.begin(), output.values.end());
  }
  if (!together) return all;
  PaddedBatch<int64_t> batch{4, length, ids, mask, types};
  if (session.by_choices()) batch.choices = 2;
  all.resize(4);
  for (const Output& output : session.run(batch)) {
    const size_t each = output.values.size() / 4;
    const bool by_token = each % length == 0 && output.shape.size() > 1 && output.shape[1] == 13;
    for (size_t b = 0; b < 4; ++b) {
      const auto begin = output.values.begin() + static_cast<std::ptrdiff_t>(b * each);
      const size_t used = by_token ? each / length * (length - 3 * b) : each;
      all[b].insert(all[b].end(), begin, begin + static_cast<std::ptrdiff_t>(used));
    }
  }
  return all;
}

TEST(Exports, EveryHeadIsPlannedWithoutFallbackAndHasOneSetOfBits) {
  const ScratchDirectory scratch;
  const fs::path file = scratch / "model.onnx";
  for (const GraphHead head : kHeads)
    for (const bool decoder : {false, true}) {
      if (decoder && head == GraphHead::kMultipleChoice) continue;
      SCOPED_TRACE(::testing::Message() << "head " << static_cast<int>(head) << " decoder " << decoder);
      RandomBertOptions options;
      options.head = head;
      options.decoder = decoder;
      options.labels = 5;
      onnx::write_model(onnx::build_bert_graph(RandomBert(options).source(), {.hidden_states = true}), file);
      std::vector<std::vector<float>> expected;
      for (const Isa isa : machine_isas())
        for (const int threads : {1, 3}) {
          SessionOptions how;
          how.isa = isa;
          how.threads = threads;
          const Session session(file, how);
          EXPECT_TRUE(session.bit_exact());
          int integer = 0;
          for (const PlanStep& step : session.plan()) {
            EXPECT_NE(step.kernel, "reference") << step.name;
            EXPECT_EQ(step.note, "") << step.name;
            integer += step.kind.find("int8") != std::string::npos;
          }
          // Of each of two layers: query, key and value, attention, and three linear layers.
          EXPECT_EQ(integer, 10);
          if (expected.empty()) expected = by_text(session, true);
          EXPECT_EQ(by_text(session, true), expected) << name_of(isa);
          EXPECT_EQ(by_text(session, false), expected) << name_of(isa);
        }
    }
}

TEST(Exports, EveryActivationHasAKernel) {
  using enum ActivationGraph;
  for (const ActivationGraph activation :
       {kGelu, kGelu10, kGeluTanh, kGeluFast, kLaplace, kLeakyRelu, kLinear, kMish, kQuickGelu, kRelu, kRelu2,
        kRelu6, kSigmoid, kSilu, kTanh})
    for (const bool quantized : {true, false}) {
      SCOPED_TRACE(::testing::Message() << "activation " << static_cast<int>(activation) << " " << quantized);
      RandomBertOptions options;
      options.activation = activation;
      options.quantized = quantized;
      const Compared found = compare(options, {});
      if (quantized)
        expect_equal_but_for_ties(found);
      else
        EXPECT_EQ(found.differing, 0u);
    }
}

TEST(Exports, PositionsScalesWeightsAndOddSizes) {
  RandomBertOptions options;
  expect_equal_but_for_ties(compare(options, {.int8_weights = true}));
  expect_equal_but_for_ties(compare(options, {.trt_attention = true}));
  options.per_channel = false;
  expect_equal_but_for_ties(compare(options, {}));
  options.position_kind = GraphPositions::kNone;
  expect_equal_but_for_ties(compare(options, {}));
  for (const GraphPositions relative : {GraphPositions::kRelativeKey, GraphPositions::kRelativeKeyQuery}) {
    options.position_kind = relative;
    expect_equal_but_for_ties(compare(options, {}));
    options.quantized = false;
    EXPECT_EQ(compare(options, {}).differing, 0u);
    options.quantized = true;
  }
  compare(options, {.trt_attention = true}, false);
  RandomBertOptions odd;
  odd.hidden = 60;
  odd.heads = 5;
  odd.intermediate = 77;
  expect_equal_but_for_ties(compare(odd, {}));
}

/// Other exporters declare ids and masks as INT32, or a mask as FLOAT.
TEST(Exports, IdsAndMasksOfOtherTypes) {
  const ScratchDirectory scratch;
  const auto outputs = [&](int32_t ids, int32_t mask) {
    onnx::Model model = onnx::build_bert_graph(RandomBert({}).source());
    for (auto& input : *model.proto().mutable_graph()->mutable_input())
      input.mutable_type()->mutable_tensor_type()->set_elem_type(input.name() == "attention_mask" ? mask
                                                                                                  : ids);
    const fs::path file = scratch.path() / "model.onnx";
    onnx::write_model(model, file);
    expect_equal_but_for_ties(compare(file, false, true));
    return by_text(Session(file), true);
  };
  using ::onnx::TensorProto;
  const auto expected = outputs(TensorProto::INT64, TensorProto::INT64);
  EXPECT_EQ(outputs(TensorProto::INT32, TensorProto::INT32), expected);
  EXPECT_EQ(outputs(TensorProto::INT64, TensorProto::FLOAT), expected);
}

/// What no step over packed tokens reads is computed by the reference operators. A norm without a bias has one
/// of zeros.
TEST(Exports, LeftOutPartsRunUnpackedAndNormsWithoutABiasDoNot) {
  const ScratchDirectory scratch;
  const fs::path file = scratch.path() / "model.onnx";
  onnx::Model model = onnx::build_bert_graph(RandomBert({}).source(), {.opset = 17});
  for (auto& node : *model.proto().mutable_graph()->mutable_node())
    if (node.op_type() == "LayerNormalization") node.mutable_input()->RemoveLast();
  onnx::write_model(model, file);
  expect_equal_but_for_ties(compare(file, false, true));

  model = onnx::build_bert_graph(RandomBert({}).source());
  auto& graph = *model.proto().mutable_graph();
  for (auto& node : *graph.mutable_node())
    if (node.op_type() == "Split") node.mutable_output(1)->clear();
  for (int n = graph.node_size(); n-- > 0;)
    if (graph.node(n).output(0) == graph.output(1).name()) graph.mutable_node()->DeleteSubrange(n, 1);
  graph.mutable_output()->RemoveLast();
  onnx::write_model(model, file);
  expect_equal_but_for_ties(compare(file, false, false));
}

TEST(Exports, HalfPrecisionFilesRunInSinglePrecision) {
  const ScratchDirectory scratch;
  const fs::path file = scratch.path() / "model.onnx";
  onnx::write_model(onnx::build_bert_graph(RandomBert({}).source(), {.opset = 19}), file);
  EXPECT_TRUE(Session(file).bit_exact());
  // The reference rounds every result to 11 bits: some hundred roundings of 2^-11
  // of values around 1, of random sign.
  expect_equal_but_for_ties(compare(file, false, true, 0.02f));
}

}  // namespace
}  // namespace qdqbert::engine
