// Files as other tools write them, in a session: against the same file in reference operators.
#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>

#include "qdqbert/engine/session.h"
#include "qdqbert/onnx/writer.h"

#include "tests/engine/compare_unpacked.h"
#include "tests/engine/graph_edit.h"
#include "tests/onnx/random_bert.h"
#include "tests/support/refusal.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::engine {
namespace {

namespace fs = std::filesystem;
using onnx::GraphHead;
using testing::Both;
using testing::GraphEdit;
using testing::kOrderOfSums;
using testing::largest_difference;
using testing::RandomBert;
using testing::RandomBertOptions;
using testing::Request;

/// A model without quantizers, for equality up to the order of sums.
onnx::Model float_model(GraphHead head = GraphHead::kBase) {
  RandomBertOptions options;
  options.head = head;
  options.quantized = false;
  return onnx::build_bert_graph(RandomBert(options).source());
}

class ForeignFiles : public ::testing::Test {
 protected:
  fs::path write(const onnx::Model& model) {
    onnx::write_model(model, file_);
    return file_;
  }
  ScratchDirectory scratch_;
  fs::path file_ = scratch_.path() / "model.onnx";
};

/// The file makes zeros of the shape of the ids in place of an input.
void without_types(GraphEdit& edit) {
  const std::string zeros = edit.before("ConstantOfShape", {edit.before("Shape", {"input_ids"})});
  edit.redirect("token_type_ids", edit.before("Cast", {zeros}, {{"to", {::onnx::TensorProto::INT64}}}));
  edit.remove_input("token_type_ids");
}

TEST_F(ForeignFiles, TokenTypesHaveNoEffectWhereTheFileHasNoInputForThem) {
  for (const bool table : {true, false}) {
    onnx::Model model = float_model();
    GraphEdit edit(model);
    if (table) {
      without_types(edit);
    } else {
      // As DistilBERT: no table of types at all.
      const std::string rows = edit.reader("token_type_ids").output(0), sum = edit.reader(rows).output(0);
      const ::onnx::NodeProto& add = edit.producer(sum);
      edit.redirect(sum, add.input(add.input(0) == rows ? 1 : 0));
      edit.remove(sum);
      edit.remove(rows);
      edit.remove_input("token_type_ids");
    }
    const Both both(write(model));
    ASSERT_TRUE(both.session.packed()) << both.session.plan()[0].note;
    Request request(2, 9);
    request.types[3] = 7;  // no model of two types knows it
    EXPECT_LE(largest_difference(both, request), kOrderOfSums);
    const std::vector<int32_t> ids = {5, 6, 7}, types = {0, 1, 9};
    const std::vector<uint32_t> offsets = {0, 3};
    const auto with = both.session.run(PackedTexts{ids, types, offsets});
    EXPECT_EQ(with[0].values, both.session.run(PackedTexts{ids, {}, offsets})[0].values);
  }
}

/// Before operator set 13 a Softmax without an axis is one over all that stands behind axis 1, taken as one row.
TEST_F(ForeignFiles, SoftmaxHasTheDefaultAxisOfItsOperatorSet) {
  for (const int opset : {12, 13}) {
    onnx::Model model = float_model();
    GraphEdit edit(model);
    edit.model().mutable_opset_import(0)->set_version(opset);
    for (::onnx::NodeProto& node : *edit.graph().mutable_node())
      if (node.op_type() == "Softmax") node.clear_attribute();
    const Both both(write(model));
    EXPECT_EQ(both.session.packed(), opset == 13);
    EXPECT_LE(largest_difference(both, Request(2, 9).pad(3)), kOrderOfSums);
  }
}

/// The first token as h[:, 0:1], and with an index of one axis, keeps the axis of positions.
TEST_F(ForeignFiles, SlicesOfOnePositionKeepIt) {
  onnx::Model model = float_model();
  GraphEdit edit(model);
  const std::string hidden = edit.graph().output(0).name();
  const std::string zero = edit.integers({0}), one = edit.integers({1});
  const std::string slice = edit.add("Slice", {hidden, zero, one, one});
  edit.add_output(slice);
  edit.add_output(edit.add("Gather", {hidden, zero}, {{"axis", {1}}}));
  edit.add_output(edit.add("Gather", {hidden, edit.integer(0)}, {{"axis", {1}}}));
  edit.add_output(edit.add("Squeeze", {edit.add("Tanh", {slice}), one}));
  edit.add_output(edit.add("Tanh", {slice}));
  const Both both(write(model));
  EXPECT_TRUE(both.session.packed()) << both.session.plan()[0].note;
  EXPECT_LE(largest_difference(both, Request(3, 9).pad(3)), kOrderOfSums);
}

TEST_F(ForeignFiles, NormsOverMoreThanColumnsRunUnpacked) {
  onnx::Model model = float_model(GraphHead::kBase);
  GraphEdit edit(model);
  edit.model().mutable_opset_import(0)->set_version(17);
  const std::string hidden = edit.graph().output(0).name();
  std::string scale, bias;
  for (const auto& tensor : edit.graph().initializer())
    if (tensor.dims_size() == 1 && tensor.dims(0) == 32) (scale.empty() ? scale : bias) = tensor.name();
  edit.add_output(edit.add("LayerNormalization", {hidden, scale, bias}, {{"axis", {1}}}));
  const Both both(write(model));
  EXPECT_FALSE(both.session.packed());
  EXPECT_LE(largest_difference(both, Request(2, 9)), kOrderOfSums);
}

/// A tensor of the file as floats that can be written to.
float* elements(GraphEdit& edit, onnx::Model& model, const std::string& part, std::string& name) {
  for (auto& tensor : *edit.graph().mutable_initializer()) {
    if (tensor.name().find(part) == std::string::npos) continue;
    name = tensor.name();
    if (const auto outside = model.outside_elements(name); !outside.empty())
      return reinterpret_cast<float*>(const_cast<std::byte*>(outside.data()));
    return reinterpret_cast<float*>(tensor.mutable_raw_data()->data());
  }
  throw std::runtime_error("no " + part);
}

/// Positions of a request are counted, whoever asks for them.
TEST_F(ForeignFiles, PositionsAsAnInput) {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{-1, -1}, {1, -1}, {-1}}) {
    onnx::Model model = float_model();
    const std::vector<float> expected = Session(write(model)).run(Request(2, 9).pad(2).view())[0].values;
    GraphEdit edit(model);
    const std::string table = "embeddings.position_embeddings.weight";
    std::string rows = edit.before("Gather", {table, "position_ids"}, {{"axis", {0}}});
    edit.redirect(
        edit.reader(table).output(0) == rows ? edit.reader(table, 1).output(0) : edit.reader(table).output(0),
        rows);
    ::onnx::ValueInfoProto& input = *edit.graph().add_input();
    input.set_name("position_ids");
    input.mutable_type()->mutable_tensor_type()->set_elem_type(::onnx::TensorProto::INT64);
    for (const int64_t size : shape) {
      auto& dim = *input.mutable_type()->mutable_tensor_type()->mutable_shape()->add_dim();
      if (size > 0) dim.set_dim_value(size);
    }
    const Both both(write(model));
    EXPECT_TRUE(both.session.packed()) << both.session.plan()[0].note;
    EXPECT_LE(largest_difference(both, Request(2, 9).pad(2)), kOrderOfSums);
    EXPECT_LE(largest_difference(both, Request(2, 20).holes(2)), kOrderOfSums);
    EXPECT_EQ(both.session.run(Request(2, 9).pad(2).view())[0].values, expected);
  }
}

/// Names of TensorFlow and of older exporters, and a mask of booleans.
TEST_F(ForeignFiles, InputsUnderOtherNames) {
  const onnx::Model plain = float_model();
  const std::vector<float> expected = Session(write(plain)).run(Request(2, 9).pad(2).view())[0].values;
  const std::vector<std::vector<std::string>> all = {
      {"input_word_ids", "input_mask", "input_type_ids"},
      {"serving_default_input_ids:0", "serving_default_attention_mask:0", "serving_default_token_type_ids:0"},
      {"input_ids", "input_mask", "segment_ids"}};
  for (const std::vector<std::string>& names : all)
    for (const bool boolean : {false, true}) {
      onnx::Model model = float_model();
      GraphEdit edit(model);
      const std::vector<std::string> ours = {"input_ids", "attention_mask", "token_type_ids"};
      for (size_t i = 0; i < 3; ++i)
        for (auto& input : *edit.graph().mutable_input())
          if (input.name() == ours[i]) {
            std::string read = names[i];
            if (i == 1 && boolean) {
              input.mutable_type()->mutable_tensor_type()->set_elem_type(::onnx::TensorProto::BOOL);
              read = edit.before("Cast", {read}, {{"to", {::onnx::TensorProto::INT64}}});
            }
            if (read != ours[i]) edit.redirect(ours[i], read);
            input.set_name(names[i]);
          }
      const Both both(write(model));
      EXPECT_TRUE(both.session.packed()) << both.session.plan()[0].note;
      EXPECT_EQ(both.session.run(Request(2, 9).pad(2).view())[0].values, expected);
      EXPECT_LE(largest_difference(both, Request(2, 9).pad(2)), kOrderOfSums);
    }
}

TEST_F(ForeignFiles, InputsThatNobodyFillsAreRefusedWhenTheFileIsOpened) {
  onnx::Model model = float_model();
  GraphEdit edit(model);
  ::onnx::ValueInfoProto& input = *edit.graph().add_input();
  input.set_name("head_mask");
  input.mutable_type()->mutable_tensor_type()->set_elem_type(::onnx::TensorProto::FLOAT);
  edit.add_output(edit.add("Mul", {"head_mask", edit.number(2)}));
  const std::string text = testing::refusal([&] { const Session session(write(model)); });
  EXPECT_NE(text.find("head_mask"), std::string::npos) << text;
}

/// What lies around the products of an attention.
struct Block {
  std::string q, k, v, context;  ///< [B, S, H]
};

std::vector<Block> blocks_of(GraphEdit& edit) {
  std::vector<Block> found;
  const auto up = [&](std::string value, std::string_view op) {
    while (edit.producer(value).op_type() != op) value = edit.producer(value).input(0);
    return edit.producer(value);
  };
  std::vector<std::string> softmaxes;
  for (const auto& node : edit.graph().node())
    if (node.op_type() == "Softmax") softmaxes.push_back(node.output(0));
  for (const std::string& weights : softmaxes) {
    const ::onnx::NodeProto scores = up(weights, "MatMul"), context = edit.reader(weights);
    Block block;
    block.q = up(scores.input(0), "Reshape").input(0);
    block.k = up(scores.input(1), "Reshape").input(0);
    block.v = up(context.input(1), "Reshape").input(0);
    const ::onnx::NodeProto turned = edit.reader(context.output(0));
    block.context = edit.reader(turned.output(0)).output(0);
    found.push_back(block);
  }
  return found;
}

TEST_F(ForeignFiles, LayersOfOtherDomainsAreOurs) {
  const Request padded = Request(3, 11).pad(3), holes = Request(3, 30).holes(4);
  const onnx::Model plain = float_model();
  const Session ours(write(plain));
  for (const std::string form : {"raw mask", "counts", "standard, joined", "standard, booleans"}) {
    SCOPED_TRACE(form);
    onnx::Model model = float_model();
    GraphEdit edit(model);
    auto& domain = *edit.model().add_opset_import();
    domain.set_domain("com.microsoft");
    domain.set_version(1);
    const bool standard = form.starts_with("standard");
    if (standard) edit.model().mutable_opset_import(0)->set_version(23);
    const std::string mask32 = edit.before("Cast", {"attention_mask"}, {{"to", {6}}});
    const std::string counts = edit.before("ReduceSum", {mask32, edit.integers({1})}, {{"keepdims", {0}}});
    const std::string booleans = edit.before(
        "Cast", {edit.before("Unsqueeze", {"attention_mask", edit.integers({1, 2})})}, {{"to", {9}}});
    const std::string bias = edit.mask_bias();
    for (const Block& block : blocks_of(edit)) {
      std::string result;
      if (standard)
        result =
            edit.add("Attention", {block.q, block.k, block.v, form == "standard, joined" ? bias : booleans},
                     {{"q_num_heads", {4}}, {"kv_num_heads", {4}}});
      else
        result = edit.add("MultiHeadAttention",
                          {block.q, block.k, block.v, "", form == "counts" ? counts : mask32},
                          {{"num_heads", {4}}});
      if (!standard) edit.producer(result).set_domain("com.microsoft");
      edit.redirect(block.context, result);
    }
    const Both both(write(model));
    EXPECT_TRUE(both.session.packed()) << both.session.plan()[0].note;
    EXPECT_LE(largest_difference(both, padded), kOrderOfSums);
    EXPECT_LE(largest_difference(both, holes), kOrderOfSums);
    EXPECT_LE(largest_difference(both.session.run(padded.view()), ours.run(padded.view()), padded),
              kOrderOfSums);
    // A count keeps the first tokens, whichever the mask means.
    const float apart = largest_difference(both.session.run(holes.view()), ours.run(holes.view()), holes);
    EXPECT_EQ(apart <= kOrderOfSums, form != "counts") << apart;
  }
}

/// Each way in which torch and optimum write an attention, and onnxsim a linear layer, one by one and together.
TEST_F(ForeignFiles, FormsOfOneAttentionRunPacked) {
  constexpr unsigned kGuard = 1, kFactor = 2, kIdle = 4, kThree = 8, kRows = 16, kAll = 31;
  for (const unsigned forms : {kGuard, kFactor, kIdle, kThree, kRows, kAll}) {
    SCOPED_TRACE(forms);
    onnx::Model model = float_model();
    GraphEdit edit(model);
    std::vector<std::string> softmaxes, products;
    for (const auto& node : edit.graph().node()) {
      if (node.op_type() == "Softmax") softmaxes.push_back(node.output(0));
      // Those of the layers, whose rows are tokens.
      if (node.op_type() == "MatMul" && edit.reader(node.output(0)).op_type() == "Add" &&
          node.name().find("layer.") != std::string::npos && node.name().find("dense") != std::string::npos)
        products.push_back(node.output(0));
    }
    const auto size_of = [&](const std::string& value, int64_t axis) {
      return edit.add("Gather", {edit.add("Shape", {value}), edit.integers({axis})}, {{"axis", {0}}});
    };
    for (const std::string& weights : softmaxes) {
      ::onnx::NodeProto& context = edit.reader(weights);
      const std::string out = context.output(0);
      if (forms & kGuard)
        edit.reader(weights).set_input(
            0, edit.add("Where", {edit.add("IsNaN", {weights}), edit.number(0), weights}));
      const std::string scaled = edit.producer(edit.producer(weights).input(0)).input(0);
      const ::onnx::NodeProto scale = edit.producer(scaled);
      const ::onnx::NodeProto scores = edit.producer(scale.input(0));
      if (forms & kFactor) {
        const std::string size =
            edit.add("Cast", {size_of(scores.input(0), 3)}, {{"to", {::onnx::TensorProto::FLOAT}}});
        const std::string root = edit.add("Sqrt", {size});
        edit.producer(scaled).set_input(
            1, scale.op_type() == "Div" ? root : edit.add("Div", {edit.number(1), root}));
      }
      if (forms & kIdle) edit.reader(out).set_input(0, edit.add("Reshape", {out, edit.add("Shape", {out})}));
      if (forms & kThree) {
        const ::onnx::NodeProto turn = edit.producer(scores.input(1));
        const std::string straight = edit.add("Transpose", {turn.input(0)}, {{"perm", {0, 2, 1, 3}}});
        const std::string joined = edit.add(
            "Concat", {edit.integers({-1}), size_of(straight, 2), size_of(straight, 3)}, {{"axis", {0}}});
        const std::string turned =
            edit.add("Transpose", {edit.add("Reshape", {straight, joined})}, {{"perm", {0, 2, 1}}});
        const std::string four =
            edit.add("Concat",
                     {size_of(straight, 0), size_of(straight, 1), size_of(straight, 3), size_of(straight, 2)},
                     {{"axis", {0}}});
        edit.producer(scores.output(0)).set_input(1, edit.add("Reshape", {turned, four}));
      }
    }
    for (const std::string& product : products) {
      if (!(forms & kRows)) break;
      const std::string x = edit.producer(product).input(0);
      const std::string rows = edit.add("Concat", {edit.integers({-1}), size_of(x, 2)}, {{"axis", {0}}});
      const std::string back =
          edit.add("Concat", {size_of(x, 0), size_of(x, 1), edit.integers({-1})}, {{"axis", {0}}});
      edit.producer(product).set_input(0, edit.add("Reshape", {x, rows}));
      edit.reader(product).set_input(edit.reader(product).input(0) == product ? 0 : 1,
                                     edit.add("Reshape", {product, back}));
    }
    const Both both(write(model));
    EXPECT_TRUE(both.session.packed()) << both.session.plan()[0].note;
    for (const size_t length : {1, 9, 30}) {
      EXPECT_LE(largest_difference(both, Request(3, length).pad(length / 4)), kOrderOfSums);
      EXPECT_LE(largest_difference(both, Request(1, length).holes(3)), kOrderOfSums);
    }
  }
}

TEST_F(ForeignFiles, WeightsThatAreNoNumbersAreRefusedByName) {
  for (const char* part : {"query.weight", "word_embeddings", "LayerNorm.bias", "output.dense.bias"})
    for (const float wrong : {NAN, INFINITY, -INFINITY}) {
      onnx::Model model = float_model();
      GraphEdit edit(model);
      std::string name;
      elements(edit, model, part, name)[3] = wrong;
      for (const bool general : {false, true}) {
        const std::string text = testing::refusal([&] {
          SessionOptions options;
          options.general_mask = general;
          const Session session(write(model), options);
        });
        EXPECT_NE(text.find(name), std::string::npos) << part << ": " << text;
      }
    }
}

TEST_F(ForeignFiles, MasksMayHoldInfinity) {
  onnx::Model model = float_model();
  GraphEdit edit(model);
  const std::string wide = edit.before(
      "Cast", {edit.before("Unsqueeze", {"attention_mask", edit.integers({1, 2})})}, {{"to", {9}}});
  edit.redirect(edit.mask_bias(), edit.before("Where", {wide, edit.number(0), edit.number(-INFINITY)}));
  const Both both(write(model));
  EXPECT_TRUE(both.session.packed());
  EXPECT_LE(largest_difference(both, Request(2, 9).pad(3)), kOrderOfSums);
}

}  // namespace
}  // namespace qdqbert::engine
