// ONNX files that are wrong on purpose, before the engine: each is refused
// with one sentence that names the file.
#include <cmath>
#include <ctime>
#include <filesystem>
#include <random>

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/engine/check_operands.h"
#include "qdqbert/engine/check_quantization.h"
#include "qdqbert/engine/import_onnx.h"
#include "qdqbert/onnx/bert_graph.h"
#include "qdqbert/onnx/writer.h"

#include "tests/onnx/random_bert.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::engine {
namespace {

namespace fs = std::filesystem;
using ::onnx::AttributeProto;
using ::onnx::TensorProto;

/// y = DequantizeLinear(QuantizeLinear(x, s, z), s, z) + w, with x and y of shape [n, 4].
::onnx::ModelProto small_model() {
  ::onnx::ModelProto model;
  model.set_ir_version(7);
  model.add_opset_import()->set_version(13);
  auto* graph = model.mutable_graph();
  const auto describe = [](::onnx::ValueInfoProto* info, const char* name) {
    info->set_name(name);
    auto* type = info->mutable_type()->mutable_tensor_type();
    type->set_elem_type(TensorProto::FLOAT);
    type->mutable_shape()->add_dim()->set_dim_param("n");
    type->mutable_shape()->add_dim()->set_dim_value(4);
  };
  describe(graph->add_input(), "x");
  describe(graph->add_output(), "y");
  const auto tensor = [&](const char* name, TensorProto::DataType type, int size) {
    auto* made = graph->add_initializer();
    made->set_name(name);
    made->set_data_type(type);
    if (size > 0) made->add_dims(size);
    return made;
  };
  tensor("s", TensorProto::FLOAT, 0)->add_float_data(0.5f);
  tensor("z", TensorProto::INT8, 0)->add_int32_data(0);
  tensor("w", TensorProto::FLOAT, 4)->set_raw_data(std::string(16, '\0'));
  const auto node = [&](const char* name, const char* op, std::vector<const char*> inputs,
                        const char* output) {
    auto* made = graph->add_node();
    made->set_name(name);
    made->set_op_type(op);
    for (const char* input : inputs) made->add_input(input);
    made->add_output(output);
    return made;
  };
  node("quantize", "QuantizeLinear", {"x", "s", "z"}, "codes");
  auto* axis = node("dequantize", "DequantizeLinear", {"codes", "s", "z"}, "values")->add_attribute();
  axis->set_name("axis");
  axis->set_type(AttributeProto::INT);
  axis->set_i(1);
  node("add", "Add", {"values", "w"}, "y");
  return model;
}

Graph import_checked(const std::string& bytes, const fs::path& directory) {
  // Exactly as many bytes as there are, so that a sanitizer sees each one read beyond them.
  const std::shared_ptr<std::byte[]> owner(new std::byte[bytes.size()]);
  std::memcpy(owner.get(), bytes.data(), bytes.size());
  Graph graph = import_onnx({owner.get(), bytes.size()}, owner, "model.onnx", directory);
  check_operands(graph);
  check_quantization(graph);
  return graph;
}

/// The message of the refusal, one line that names the file.
std::string refusal(const std::string& bytes, const fs::path& directory = "/nonexistent") {
  try {
    import_checked(bytes, directory);
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("model.onnx"), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    return text;
  }
  return "accepted";
}

/// The refusal of the small model after a change.
template <class Change>
std::string refusal_after(const Change& change, const fs::path& directory = "/nonexistent") {
  auto model = small_model();
  change(*model.mutable_graph());
  return refusal(model.SerializeAsString(), directory);
}
template <class Change>
std::string refusal_of_tensor(const Change& change, const fs::path& directory = "/nonexistent") {
  return refusal_after([&](auto& graph) { change(*graph.mutable_initializer(2)); }, directory);
}
template <class Change>
std::string refusal_of_node(const Change& change) {
  return refusal_after([&](auto& graph) { change(*graph.mutable_node(1)); });
}
template <class Change>
std::string refusal_of_model(const Change& change) {
  auto model = small_model();
  change(model);
  return refusal(model.SerializeAsString());
}

#define EXPECT_REFUSED(made, part) EXPECT_PRED_FORMAT2(::testing::IsSubstring, part, made)

TEST(HostileImport, GoodFilesAreAccepted) {
  EXPECT_EQ(refusal(small_model().SerializeAsString()), "accepted");
}

TEST(HostileImport, FilesThatAreNoModels) {
  const ScratchDirectory directory;
  EXPECT_THROW(import_onnx(directory / "absent.onnx"), SystemError);
  EXPECT_THROW(import_onnx(directory.path()), SystemError);
  write_file(directory / "model.onnx", "");
  EXPECT_THROW(import_onnx(directory / "model.onnx"), InputError);
  EXPECT_REFUSED(refusal(""), "has no graph");
  EXPECT_REFUSED(refusal("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS");
  EXPECT_NE(refusal("{\"json\": true}"), "accepted");
  EXPECT_NE(refusal("PK\x03\x04zip"), "accepted");
  std::mt19937 engine(7);
  for (const size_t size : {1, 10, 1000, 100'000}) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(engine());
    EXPECT_NE(refusal(bytes), "accepted") << size;
    EXPECT_NE(refusal(std::string(size, '\0')), "accepted") << size;
    EXPECT_NE(refusal(std::string(size, '\xff')), "accepted") << size;
  }
}

TEST(HostileImport, TruncatedAtEveryByte) {
  const std::string good = small_model().SerializeAsString();
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(refusal(good.substr(0, size)), "accepted") << size;
}

TEST(HostileImport, EveryByteToEveryExtreme) {
  const std::string good = small_model().SerializeAsString();
  for (size_t i = 0; i < good.size(); ++i)
    for (int value : {0x00, 0x01, 0x7f, 0x80, 0xff, good[i] + 1, good[i] - 1}) {
      std::string bytes = good;
      bytes[i] = static_cast<char>(value);
      refusal(bytes);
    }
}

TEST(HostileImport, FlippedBitsNeverCrash) {
  const ScratchDirectory directory;
  testing::RandomBertOptions shape;
  shape.layers = 1;
  onnx::write_model(onnx::build_bert_graph(testing::RandomBert(shape).source()), directory / "bert.onnx");
  const std::string bert = read_file(directory / "bert.onnx"), tiny = small_model().SerializeAsString();
  ASSERT_EQ(refusal(bert), "accepted");
  const unsigned seed = 11;
  std::mt19937 engine(seed);
  for (int round = 0; round < 20'000; ++round) {
    // Most bytes of the larger file are weights; the structure comes first.
    std::string bytes = round % 20 == 0 ? bert : tiny;
    const size_t reach = std::min<size_t>(bytes.size(), 20'000);
    for (int flips = 1 + static_cast<int>(engine() % 3); flips > 0; --flips)
      bytes[engine() % reach] ^= static_cast<char>(1 << engine() % 8);
    SCOPED_TRACE(fmt::format("seed {}, round {}", seed, round));
    refusal(bytes);
  }
}

TEST(HostileImport, WireFormat) {
  using namespace std::string_literals;
  const std::string good = small_model().SerializeAsString();
  EXPECT_EQ(refusal(good + "\xfa\x3f\x03"s + "abc"), "accepted") << "unknown fields are skipped";
  EXPECT_EQ(refusal(good + "\xf8\x3f\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"s), "accepted");
  EXPECT_REFUSED(refusal(good + "\xf8\x3f\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"s), "more than 64 bits");
  EXPECT_REFUSED(refusal(good + "\xf8\x3f\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"s),
                 "more than 64 bits");
  EXPECT_REFUSED(refusal(good + "\xfa\x3f\x04"s + "abc"), "truncated");
  EXPECT_REFUSED(refusal(good + "\xfa\x3f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s), "truncated");
  EXPECT_REFUSED(refusal(good + "\xfd\x3f\x01\x02\x03"s), "truncated");
  EXPECT_REFUSED(refusal(good + "\xf9\x3f\x01\x02\x03\x04\x05\x06\x07"s), "truncated");
  EXPECT_REFUSED(refusal(good + "\x02\0"s), "field number 0");
  EXPECT_REFUSED(refusal(good + "\xfb\x3f"s), "wire type 3") << "groups";
  EXPECT_REFUSED(refusal(good + "\xfe\x3f"s), "wire type 6");
  EXPECT_REFUSED(refusal(good + "\x3d\0\0\0\0"s), "two graphs");
  EXPECT_REFUSED(refusal("\x3d\0\0\0\0"s), "wire type 5") << "a graph that is a number";
}

TEST(HostileImport, DeepNesting) {
  ::onnx::GraphProto inner;
  inner.add_output()->set_name("y");
  for (int depth = 0; depth < 80; ++depth) {
    ::onnx::GraphProto outer;
    auto* node = outer.add_node();
    node->set_op_type("If");
    node->add_output(std::string("y"));
    auto* attribute = node->add_attribute();
    attribute->set_name("then_branch");
    attribute->set_type(AttributeProto::GRAPH);
    attribute->mutable_g()->Swap(&inner);
    outer.add_output()->set_name("y");
    inner.Swap(&outer);
  }
  ::onnx::ModelProto model = small_model();
  model.mutable_graph()->Swap(&inner);
  EXPECT_REFUSED(refusal(model.SerializeAsString()), "attribute then_branch is a graph");
}

TEST(HostileImport, OperatorSets) {
  EXPECT_REFUSED(refusal_of_model([](auto& m) { m.clear_opset_import(); }), "opset");
  EXPECT_REFUSED(refusal_of_model([](auto& m) { m.mutable_opset_import(0)->set_version(10); }), "opset 10");
  EXPECT_REFUSED(refusal_of_model([](auto& m) { m.mutable_opset_import(0)->set_version(27); }), "opset 27");
  EXPECT_NE(refusal_of_model([](auto& m) { m.mutable_opset_import(0)->set_version(-1); }), "accepted");
  EXPECT_EQ(refusal_of_model([](auto& m) { m.mutable_opset_import(0)->set_domain("ai.onnx"); }), "accepted");
  EXPECT_EQ(refusal_of_model([](auto& m) { *m.add_opset_import() = m.opset_import(0); }), "accepted");
  EXPECT_REFUSED(refusal_of_model([](auto& m) { m.add_opset_import()->set_version(17); }),
                 "opsets 13 and 17");
  EXPECT_REFUSED(refusal_of_node([](auto& n) { n.set_domain("com.microsoft"); }),
                 "node dequantize (com.microsoft.DequantizeLinear) is of domain com.microsoft");
  EXPECT_REFUSED(refusal_of_model([](auto& m) {
                   m.add_opset_import()->set_domain("mine");
                   m.mutable_graph()->mutable_node(1)->set_domain("mine");
                   auto* function = m.add_functions();
                   function->set_name("DequantizeLinear");
                   function->set_domain("mine");
                 }),
                 "function that the file defines");
}

/// The engine's own operators have no place in files: what makes them also checks them.
TEST(HostileImport, InternalOperators) {
  EXPECT_REFUSED(refusal_of_model([](auto& m) {
                   m.add_opset_import()->set_domain("qdqbert");
                   m.mutable_graph()->mutable_node(1)->set_domain("qdqbert");
                 }),
                 "keeps to itself");
  EXPECT_REFUSED(refusal_of_node([](auto& n) { n.set_op_type("qdqbert.QuantizedLinear"); }),
                 "keeps to itself");
}

TEST(HostileImport, Operands) {
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(2)->mutable_input()->RemoveLast(); }),
                 "node add (Add) has 1 inputs, the operator takes at least 2");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(2)->add_input("x"); }), "takes at most 2");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(2)->set_input(0, ""); }), "leaves out input 0");
  EXPECT_REFUSED(refusal_after([](auto& g) {
                   g.mutable_node(2)->add_output(g.node(2).output(0));
                   g.mutable_node(2)->set_output(0, "");
                 }),
                 "node add (Add) leaves out its first output");
  EXPECT_REFUSED(refusal_of_node([](auto& n) { n.set_input(1, ""); }), "leaves out input 1");
  EXPECT_EQ(refusal_of_node([](auto& n) { n.set_input(2, ""); }), "accepted") << "a zero point is optional";
}

TEST(HostileImport, Names) {
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(2)->set_input(0, "nowhere"); }),
                 "node add (Add) reads nowhere");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_output(0)->set_name("nowhere"); }), "nowhere");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(1)->set_output(0, "codes"); }),
                 "codes is made twice");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(1)->set_output(0, "x"); }), "x is made twice");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(1)->set_output(0, "w"); }), "w is made twice");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(1)->add_output("values"); }),
                 "values is made twice");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_initializer(0)->set_name("w"); }), "two initializers");
  EXPECT_REFUSED(refusal_after([](auto& g) { *g.add_input() = g.input(0); }), "two inputs");
  EXPECT_REFUSED(refusal_after([](auto& g) { *g.add_output() = g.output(0); }), "two outputs");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_input(0)->clear_name(); }), "no name");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_initializer(2)->clear_name(); }), "no name");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(2)->clear_output(); }), "no output");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(2)->clear_op_type(); }), "no operator");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.clear_output(); }), "no outputs");
  EXPECT_REFUSED(refusal_of_node([](auto& n) { n.set_name("a\nb"); }), "control characters");
  EXPECT_REFUSED(refusal_of_node([](auto& n) { n.set_name("a\x1b[31m"); }), "control characters");
  EXPECT_REFUSED(refusal_of_node([](auto& n) { n.set_name("a\xc2\x9b"); }), "control characters");
  EXPECT_EQ(refusal_of_node([](auto& n) { n.set_name("\xc3\xa4/\xe5\xb1\x82"); }), "accepted");
  EXPECT_REFUSED(refusal_of_node([](auto& n) { n.set_name("a\xff"); }), "UTF-8");
  EXPECT_REFUSED(refusal_of_node([](auto& n) { n.set_name(std::string(100'000, 'n')); }),
                 "a name of 100000 bytes");
}

TEST(HostileImport, Cycles) {
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(0)->set_input(0, "y"); }),
                 "waits for its own result");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(2)->set_input(1, "y"); }),
                 "node add (Add) waits");
  // What only stands behind a cycle is not blamed.
  EXPECT_REFUSED(refusal_after([](auto& g) { g.mutable_node(0)->set_input(0, "codes"); }), "node quantize");
}

TEST(HostileImport, LongChainsInAnyOrder) {
  for (const bool closed : {false, true}) {
    auto model = small_model();
    auto* graph = model.mutable_graph();
    graph->clear_node();
    constexpr int kLength = 100'000;
    for (int i = kLength; i-- > 0;) {
      auto* node = graph->add_node();
      node->set_op_type("Identity");
      node->add_input(i == 0 ? (closed ? "y" : "x") : fmt::format("v{}", i - 1));
      node->add_output(i == kLength - 1 ? "y" : fmt::format("v{}", i));
    }
    const std::string bytes = model.SerializeAsString();
    if (closed)
      EXPECT_REFUSED(refusal(bytes), "waits for its own result");
    else
      EXPECT_EQ(import_checked(bytes, "").nodes.front().name, "v0");
  }
}

/// Time must grow with the file, not with its square: half a second here would be minutes.
TEST(HostileImport, ManyValues) {
  auto model = small_model();
  auto* graph = model.mutable_graph();
  const auto input = graph->input(0);
  auto* split = graph->add_node();
  split->set_op_type("Split");
  split->add_input("x");
  for (int i = 0; i < 100'000; ++i) {
    *graph->add_input() = input;
    graph->mutable_input(graph->input_size() - 1)->set_name(fmt::format("i{}", i));
    split->add_output(fmt::format("o{}", i));
    graph->add_output()->set_name(fmt::format("o{}", i));
  }
  const std::string bytes = model.SerializeAsString();
  const std::clock_t start = std::clock();  // of this process alone, whatever else the machine does
  EXPECT_EQ(refusal(bytes), "accepted");
  EXPECT_LT((std::clock() - start) / CLOCKS_PER_SEC, 20);
  for (int i = 0; i < 1'100'000; ++i) graph->mutable_node(3)->add_output(fmt::format("p{}", i));
  EXPECT_REFUSED(refusal(model.SerializeAsString()), "more than 1048576 values");
}

TEST(HostileImport, InputsAndOutputs) {
  const auto type_of_x = [](auto change) {
    return refusal_after([&](auto& g) { change(*g.mutable_input(0)->mutable_type()); });
  };
  EXPECT_REFUSED(type_of_x([](auto& t) { t.mutable_tensor_type()->set_elem_type(TensorProto::STRING); }),
                 "STRING");
  EXPECT_REFUSED(type_of_x([](auto& t) { t.mutable_tensor_type()->set_elem_type(1000); }), "1000");
  EXPECT_REFUSED(type_of_x([](auto& t) { t.mutable_tensor_type()->clear_elem_type(); }), "no element type");
  EXPECT_REFUSED(type_of_x([](auto& t) { t.mutable_sequence_type(); }), "is no tensor");
  EXPECT_REFUSED(
      type_of_x([](auto& t) { t.mutable_tensor_type()->mutable_shape()->mutable_dim(0)->set_dim_value(-2); }),
      "size -2");
  EXPECT_REFUSED(type_of_x([](auto& t) {
                   for (int i = 0; i < 100; ++i) t.mutable_tensor_type()->mutable_shape()->add_dim();
                 }),
                 "after 64 others");
}

TEST(HostileImport, ShapesThatDoNotFit) {
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) { t.set_dims(0, 3); }),
                 "initializer w: shape [3] needs 12 bytes");
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) { t.set_dims(0, -4); }), "impossible shape [-4]");
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) { t.set_dims(0, INT64_MIN); }), "impossible shape");
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) { t.set_dims(0, int64_t{1} << 62); }), "impossible shape");
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) {
                   t.set_dims(0, int64_t{1} << 32);
                   t.add_dims(int64_t{1} << 32);
                 }),
                 "impossible shape");
  // 2^64 + 16 bytes, counted in 64 bits.
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) { t.set_dims(0, (int64_t{1} << 62) + 4); }),
                 "impossible shape");
  // Nothing is stored, but strides would overflow.
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) {
                   t.clear_raw_data();
                   t.set_dims(0, 0);
                   t.add_dims(int64_t{1} << 40);
                   t.add_dims(int64_t{1} << 40);
                 }),
                 "impossible shape");
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) { t.clear_raw_data(); }), "there are 0");
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) {
                   for (int i = 0; i < 1'000'000; ++i) t.add_dims(1);
                 }),
                 "more than 64 dimensions");
}

TEST(HostileImport, TypedFieldsThatDoNotFit) {
  const auto typed = [](TensorProto::DataType type, auto fill) {
    return refusal_of_tensor([&](auto& t) {
      t.clear_raw_data();
      t.clear_dims();
      t.set_data_type(type);
      fill(t);
    });
  };
  EXPECT_REFUSED(typed(TensorProto::INT8, [](auto& t) { t.add_int32_data(128); }), "128 does not fit I8");
  EXPECT_REFUSED(typed(TensorProto::INT8, [](auto& t) { t.add_int32_data(-129); }), "-129 does not fit I8");
  EXPECT_REFUSED(typed(TensorProto::UINT8, [](auto& t) { t.add_int32_data(-1); }), "-1 does not fit U8");
  EXPECT_REFUSED(typed(TensorProto::UINT8, [](auto& t) { t.add_int32_data(256); }), "256 does not fit U8");
  EXPECT_REFUSED(typed(TensorProto::BOOL, [](auto& t) { t.add_int32_data(2); }), "2 does not fit BOOL");
  EXPECT_REFUSED(typed(TensorProto::INT16, [](auto& t) { t.add_int32_data(32768); }), "does not fit I16");
  EXPECT_REFUSED(typed(TensorProto::FLOAT16, [](auto& t) { t.add_int32_data(65536); }), "does not fit F16");
  EXPECT_REFUSED(typed(TensorProto::BOOL, [](auto& t) { t.set_raw_data("\x02"); }), "BOOL element is 2");
  EXPECT_REFUSED(typed(TensorProto::INT8, [](auto& t) { t.add_float_data(1); }), "does not use");
  EXPECT_REFUSED(typed(TensorProto::FLOAT, [](auto& t) { t.add_int32_data(1); }), "does not use");
  EXPECT_REFUSED(typed(TensorProto::INT64, [](auto& t) { t.add_int32_data(1); }), "does not use");
  EXPECT_REFUSED(typed(TensorProto::INT64, [](auto& t) { t.add_uint64_data(1); }), "does not use");
  EXPECT_REFUSED(typed(TensorProto::DOUBLE, [](auto& t) { t.add_float_data(1); }), "does not use");
  EXPECT_REFUSED(typed(TensorProto::FLOAT,
                       [](auto& t) {
                         t.add_float_data(1);
                         t.add_float_data(1);
                       }),
                 "needs 1 elements, there are 2");
  EXPECT_REFUSED(typed(TensorProto::FLOAT,
                       [](auto& t) {
                         t.add_float_data(1);
                         t.set_raw_data("0123");
                       }),
                 "in 2 places");
  EXPECT_REFUSED(typed(TensorProto::FLOAT,
                       [](auto& t) {
                         t.add_dims(int64_t{1} << 50);
                         t.add_float_data(1);
                       }),
                 "there are 1");
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) { t.mutable_segment()->set_begin(0); }), "segments");
}

TEST(HostileImport, ElementTypesThatAreNotRead) {
  for (const TensorProto::DataType type : {TensorProto::UNDEFINED, TensorProto::STRING, TensorProto::UINT16,
                                           TensorProto::UINT64, TensorProto::COMPLEX64})
    EXPECT_REFUSED(refusal_of_tensor([&](auto& t) { t.set_data_type(type); }),
                   std::string(TensorProto::DataType_Name(type)));
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) { t.set_data_type(12345); }), "12345");
  EXPECT_REFUSED(refusal_of_tensor([](auto& t) { t.set_data_type(-1); }), "-1");
  EXPECT_REFUSED(refusal_after([](auto& g) { g.add_sparse_initializer(); }), "sparse");
}

TEST(HostileImport, Attributes) {
  const auto changed = [](auto change) {
    return refusal_of_node([&](auto& n) { change(*n.mutable_attribute(0)); });
  };
  EXPECT_REFUSED(changed([](auto& a) { a.clear_name(); }), "without a name");
  EXPECT_REFUSED(changed([](auto& a) { a.set_f(1); }), "values of several types");
  EXPECT_REFUSED(changed([](auto& a) { a.set_type(AttributeProto::FLOAT); }),
                 "is of type FLOAT and has another value");
  EXPECT_REFUSED(changed([](auto& a) {
                   a.clear_i();
                   a.clear_type();
                 }),
                 "neither type nor value");
  EXPECT_REFUSED(changed([](auto& a) {
                   a.clear_i();
                   a.set_type(AttributeProto::STRINGS);
                 }),
                 "of type STRINGS, which is not read");
  EXPECT_REFUSED(changed([](auto& a) {
                   a.clear_i();
                   a.set_type(AttributeProto::SPARSE_TENSOR);
                   a.mutable_sparse_tensor();
                 }),
                 "SPARSE_TENSOR");
  EXPECT_REFUSED(changed([](auto& a) {
                   a.clear_i();
                   a.set_ref_attr_name("outer");
                 }),
                 "refers to one of a function");
  EXPECT_REFUSED(refusal_of_node([](auto& n) { *n.add_attribute() = n.attribute(0); }),
                 "axis is given twice");
  EXPECT_REFUSED(changed([](auto& a) {
                   a.clear_i();
                   a.set_type(AttributeProto::TENSOR);
                 }),
                 "attribute axis has element type UNDEFINED");
}

TEST(HostileImport, Constants) {
  const auto constant = [](auto change) {
    return refusal_after([&](auto& g) {
      auto* node = g.add_node();
      node->set_name("c");
      node->set_op_type("Constant");
      node->add_output("made");
      auto* attribute = node->add_attribute();
      attribute->set_name("value_int");
      attribute->set_type(AttributeProto::INT);
      attribute->set_i(1);
      change(*node);
    });
  };
  EXPECT_EQ(constant([](auto&) {}), "accepted");
  EXPECT_REFUSED(constant([](auto& n) { n.add_input("x"); }), "1 inputs");
  EXPECT_REFUSED(constant([](auto& n) { n.add_output("more"); }), "2 outputs");
  EXPECT_REFUSED(constant([](auto& n) { n.clear_attribute(); }), "0 attributes");
  EXPECT_REFUSED(constant([](auto& n) { n.set_output(0, "x"); }), "x is made twice");
  EXPECT_REFUSED(constant([](auto& n) { n.set_output(0, "codes"); }), "codes is made twice");
  EXPECT_REFUSED(constant([](auto& n) { n.mutable_attribute(0)->set_name("value_float"); }),
                 "no constant is made");
  EXPECT_REFUSED(constant([](auto& n) {
                   n.mutable_attribute(0)->set_name("value_string");
                   n.mutable_attribute(0)->clear_i();
                   n.mutable_attribute(0)->set_type(AttributeProto::STRING);
                 }),
                 "no constant is made");
}

class HostileExternalData : public ::testing::Test {
 protected:
  HostileExternalData() {
    fs::create_directories(home_);
    write_file(directory_ / "secret", std::string(100, 's'));
    write_file(home_ / "data", std::string(100, '\0'));
  }
  std::string refusal_of(const std::string& location, const std::string& offset, const std::string& length) {
    return refusal_of_tensor(
        [&](TensorProto& tensor) {
          tensor.clear_raw_data();
          tensor.set_data_location(TensorProto::EXTERNAL);
          const std::pair<const char*, std::string> entries[] = {
              {"location", location}, {"offset", offset}, {"length", length}};
          for (const auto& [key, value] : entries) {
            auto* entry = tensor.add_external_data();
            entry->set_key(key);
            entry->set_value(value);
          }
        },
        home_);
  }
  ScratchDirectory directory_;
  fs::path home_ = directory_ / "inside";
};

TEST_F(HostileExternalData, LiesBesideTheModel) {
  EXPECT_EQ(refusal_of("data", "84", "16"), "accepted");
  EXPECT_EQ(refusal_of("./data", "84", "16"), "accepted");
  for (const std::string& location :
       {std::string("../secret"), std::string("inside/../../secret"), (directory_ / "secret").string(),
        (home_ / "data").string(), std::string("/etc/hostname"), std::string("/dev/zero"),
        std::string("absent"), std::string("."), std::string("data\0x", 6), std::string("*/_ORT_MEM_ADDR_/*"),
        std::string(100'000, 'a')})
    EXPECT_NE(refusal_of(location, "0", "16"), "accepted") << location;
  EXPECT_REFUSED(refusal_of("", "0", "16"), "not a file beside the model");
  fs::create_symlink(directory_ / "secret", home_ / "link");
  EXPECT_REFUSED(refusal_of("link", "0", "16"), "leads out of");
  fs::create_directory_symlink(directory_.path(), home_ / "up");
  EXPECT_REFUSED(refusal_of("up/secret", "0", "16"), "leads out of");
  fs::create_symlink("loop", home_ / "loop");
  EXPECT_REFUSED(refusal_of("loop", "0", "16"), "there is no external data file");
  fs::create_symlink("data", home_ / "alias");
  EXPECT_EQ(refusal_of("alias", "0", "16"), "accepted") << "a link that stays inside";
}

TEST_F(HostileExternalData, LiesInsideItsFile) {
  EXPECT_REFUSED(refusal_of("data", "85", "16"), "lie outside of data, which has 100");
  EXPECT_NE(refusal_of("data", "101", "16"), "accepted");
  EXPECT_NE(refusal_of("data", "18446744073709551612", "16"), "accepted");
  EXPECT_REFUSED(refusal_of("data", "0", "12"), "its external data has 12");
  EXPECT_NE(refusal_of("data", "-16", "16"), "accepted");
  EXPECT_NE(refusal_of("data", "0", "16 "), "accepted");
  EXPECT_NE(refusal_of("data", "0x10", "16"), "accepted");
  EXPECT_NE(refusal_of("data", "99999999999999999999", "16"), "accepted");
  fs::resize_file(home_ / "data", 15);
  EXPECT_REFUSED(refusal_of("data", "0", "16"), "lie outside of");
  fs::resize_file(home_ / "data", 0);
  EXPECT_REFUSED(refusal_of("data", "0", "16"), "lie outside of");
}

/// The checks that check_quantization makes hold for files as well.
TEST(HostileImport, Scales) {
  const auto scale = [](float value) {
    return refusal_after([&](auto& g) { g.mutable_initializer(0)->set_float_data(0, value); });
  };
  EXPECT_EQ(scale(1), "accepted");
  for (const float value : {0.f, -0.f, -1.f, std::nanf(""), -std::nanf(""), HUGE_VALF, -HUGE_VALF})
    EXPECT_REFUSED(scale(value), "node quantize (QuantizeLinear): scale 0 of s");
  EXPECT_REFUSED(
      refusal_after([](auto& g) { g.mutable_initializer(1)->set_data_type(TensorProto::FLOAT16); }),
      "zero point z has type F16");
  EXPECT_REFUSED(refusal_after([](auto& g) {
                   g.mutable_initializer(0)->add_dims(2);
                   g.mutable_initializer(0)->add_float_data(1);
                 }),
                 "2 scales and 1 zero points");
  EXPECT_REFUSED(refusal_after([](auto& g) {
                   for (int i : {0, 1}) g.mutable_initializer(i)->add_dims(4);
                   for (int i = 0; i < 3; ++i) {
                     g.mutable_initializer(0)->add_float_data(1);
                     g.mutable_initializer(1)->add_int32_data(0);
                   }
                   g.mutable_node(1)->mutable_attribute(0)->set_i(2);
                 }),
                 "node dequantize (DequantizeLinear): axis 2 of a tensor of shape");
}

}  // namespace
}  // namespace qdqbert::engine
