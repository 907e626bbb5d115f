// The importer against libonnx's own parser: the same nodes, the same elements.
#include "qdqbert/engine/import_onnx.h"

#include <cstring>
#include <fstream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/engine/check_operands.h"
#include "qdqbert/engine/check_quantization.h"
#include "qdqbert/onnx/reader.h"
#include "qdqbert/onnx/writer.h"

#include "tests/onnx/random_bert.h"
#include "tests/support/golden.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::engine {
namespace {

using ::onnx::AttributeProto;
using ::onnx::TensorProto;
namespace fs = std::filesystem;

Graph import_text(const std::string& bytes, const fs::path& directory = "/nonexistent") {
  const auto owner = std::make_shared<std::string>(bytes);
  return import_onnx(std::as_bytes(std::span(*owner)), owner, "model.onnx", directory);
}

ValueId find_value(const Graph& graph, const std::string& name) {
  for (ValueId id = 0; id < graph.values.size(); ++id)
    if (graph.values[id].name == name) return id;
  throw std::runtime_error("no value " + name);
}

const Tensor& constant(const Graph& graph, const std::string& name) {
  return graph.values[find_value(graph, name)].constant.value();
}

bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

void expect_same(const Tensor& tensor, const TensorView& expected, const std::string& name) {
  EXPECT_EQ(tensor.dtype, expected.dtype) << name;
  EXPECT_EQ(tensor.shape, expected.shape) << name;
  EXPECT_TRUE(same_bytes(tensor.bytes, expected.data)) << name;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.bytes.data()) % size_of(tensor.dtype), 0u) << name;
}

TensorView view_of(const TensorProto& tensor) {
  return {onnx::dtype_of(tensor.data_type(), tensor.name()),
          {tensor.dims().begin(), tensor.dims().end()},
          std::as_bytes(std::span(tensor.raw_data()))};
}

void expect_same(const Attribute& attribute, const AttributeProto& expected, const std::string& name) {
  switch (expected.type()) {
    case AttributeProto::INT:
      EXPECT_EQ(std::get<int64_t>(attribute), expected.i()) << name;
      break;
    case AttributeProto::FLOAT:
      EXPECT_EQ(std::get<float>(attribute), expected.f()) << name;
      break;
    case AttributeProto::STRING:
      EXPECT_EQ(std::get<std::string>(attribute), expected.s()) << name;
      break;
    case AttributeProto::INTS:
      EXPECT_THAT(std::get<std::vector<int64_t>>(attribute), ::testing::ElementsAreArray(expected.ints()));
      break;
    case AttributeProto::FLOATS:
      EXPECT_THAT(std::get<std::vector<float>>(attribute), ::testing::ElementsAreArray(expected.floats()));
      break;
    case AttributeProto::TENSOR:
      expect_same(std::get<Tensor>(attribute), view_of(expected.t()), name);
      break;
    default:
      ADD_FAILURE() << name << " has a type that this test does not know";
  }
}

/// Compares everything with what libonnx reads. The model's nodes must be in order.
void expect_same(const Graph& graph, const onnx::Model& model) {
  const auto& expected = model.proto().graph();
  std::set<std::string> initializers;
  for (const auto& tensor : expected.initializer()) {
    initializers.insert(tensor.name());
    expect_same(constant(graph, tensor.name()), model.initializer(tensor.name()), tensor.name());
  }
  size_t constants = initializers.size(), n = 0;
  const auto names = [&](const std::vector<ValueId>& ids) {
    std::vector<std::string> all;
    for (const ValueId id : ids) all.push_back(id == kNoValue ? "" : graph.values[id].name);
    return all;
  };
  for (const auto& proto : expected.node()) {
    if (proto.op_type() == "Constant") {
      expect_same(constant(graph, proto.output(0)), view_of(proto.attribute(0).t()), proto.output(0));
      ++constants;
      continue;
    }
    ASSERT_LT(n, graph.nodes.size());
    const Node& node = graph.nodes[n++];
    EXPECT_EQ(node.name, proto.name().empty() ? proto.output(0) : proto.name());
    const bool standard = proto.domain().empty() || proto.domain() == "ai.onnx";
    EXPECT_EQ(node.op, standard ? proto.op_type() : proto.domain() + "." + proto.op_type());
    for (const auto& import : model.proto().opset_import())
      if (import.domain() == proto.domain()) {
        EXPECT_EQ(node.opset, import.version()) << node.name;
      }
    EXPECT_THAT(names(node.inputs), ::testing::ElementsAreArray(proto.input())) << node.name;
    EXPECT_THAT(names(node.outputs), ::testing::ElementsAreArray(proto.output())) << node.name;
    ASSERT_EQ(node.attributes.size(), static_cast<size_t>(proto.attribute_size())) << node.name;
    for (const auto& attribute : proto.attribute())
      expect_same(node.attributes.at(attribute.name()), attribute, node.name + "." + attribute.name());
  }
  EXPECT_EQ(n, graph.nodes.size());
  EXPECT_EQ(static_cast<size_t>(std::count_if(graph.values.begin(), graph.values.end(),
                                              [](const Value& v) { return v.constant.has_value(); })),
            constants);

  std::vector<std::string> inputs, outputs;
  const auto check_type = [&](const ::onnx::ValueInfoProto& info) {
    const Value& value = graph.values[find_value(graph, info.name())];
    const auto& type = info.type().tensor_type();
    EXPECT_EQ(value.dtype, onnx::dtype_of(type.elem_type(), info.name())) << info.name();
    ASSERT_TRUE(value.shape) << info.name();
    Shape shape;
    for (const auto& size : type.shape().dim()) shape.push_back(size.has_dim_value() ? size.dim_value() : -1);
    EXPECT_EQ(*value.shape, shape) << info.name();
  };
  for (const auto& info : expected.input()) {
    if (initializers.count(info.name())) continue;
    inputs.push_back(info.name());
    check_type(info);
  }
  for (const auto& info : expected.output()) {
    outputs.push_back(info.name());
    check_type(info);
  }
  EXPECT_EQ(names(graph.inputs), inputs);
  EXPECT_EQ(names(graph.outputs), outputs);
}

/// The summary that a case keeps of its graph.
void expect_summary(const Graph& graph, const Json& summary) {
  std::map<std::string, int64_t> counts;
  for (const Node& node : graph.nodes) ++counts[node.op];
  int64_t constants = 0;
  for (const auto& [op, count] : summary.at("op_counts").items()) {
    if (op == "Constant")
      constants = count;
    else
      EXPECT_EQ(counts[op], count.get<int64_t>()) << op;
  }
  EXPECT_EQ(static_cast<int64_t>(graph.nodes.size()) + constants, summary.at("nodes").get<int64_t>());
  for (const auto& initializer : summary.at("initializers")) {
    const Tensor& tensor = constant(graph, initializer.at(0));
    EXPECT_EQ(tensor.shape, initializer.at(1).get<Shape>()) << initializer.at(0);
    TensorProto::DataType type;
    ASSERT_TRUE(TensorProto::DataType_Parse(initializer.at(2), &type));
    EXPECT_EQ(onnx::onnx_type(tensor.dtype), type) << initializer.at(0);
  }
}

TEST(ImportOnnx, GoldenFiles) {
  testing::GoldenFamily family("engine-import");
  for (const auto& entry : fs::directory_iterator(testing::golden_dir() / "onnx")) {
    const fs::path path = entry.path() / "model.onnx";
    if (!fs::exists(path)) continue;
    family.run(entry.path().filename().string(), [&] {
      const Graph graph = import_onnx(path);
      EXPECT_EQ(graph.name, path.string());
      expect_same(graph, onnx::read_model(path));
      expect_summary(graph, parse_json(read_file(entry.path() / "case.json"), path.string()).at("graph"));
      check_operands(graph);
      check_quantization(graph);
    });
  }
}

class OwnExport : public ::testing::TestWithParam<bool> {};

TEST_P(OwnExport, IsImportedWithoutCopies) {
  const bool external = GetParam();
  const ScratchDirectory directory;
  const fs::path path = directory / "model.onnx";
  onnx::WriteOptions options;
  if (external) options.external_data_threshold = 0;
  const auto written = onnx::write_model(
      onnx::build_bert_graph(testing::RandomBert(testing::RandomBertOptions{}).source()), path, options);
  ASSERT_EQ(written.size(), external ? 2u : 1u);
  const Graph graph = import_onnx(path);
  expect_same(graph, onnx::read_model(path));
  check_quantization(graph);
  // Tensors that are not small lie on 64 bytes in one mapped file, and nowhere else.
  std::set<const void*> owners;
  for (const Value& value : graph.values)
    if (value.constant && value.constant->bytes.size() > onnx::kInlineBytes) {
      owners.insert(value.constant->owner.get());
      EXPECT_EQ(reinterpret_cast<uintptr_t>(value.constant->bytes.data()) % onnx::kDataAlignment, 0u);
    }
  EXPECT_EQ(owners.size(), 1u);
}
INSTANTIATE_TEST_SUITE_P(OneFileOrTwo, OwnExport, ::testing::Bool());

/// A model with one node, `y = Identity(x)`, and opset 13.
::onnx::ModelProto small_model() {
  ::onnx::ModelProto model;
  model.set_ir_version(7);
  model.add_opset_import()->set_version(13);
  auto* graph = model.mutable_graph();
  graph->set_name("g");
  const auto describe = [](::onnx::ValueInfoProto* info, const char* name) {
    info->set_name(name);
    auto* type = info->mutable_type()->mutable_tensor_type();
    type->set_elem_type(TensorProto::FLOAT);
    type->mutable_shape()->add_dim()->set_dim_param("n");
    type->mutable_shape()->add_dim()->set_dim_value(4);
  };
  describe(graph->add_input(), "x");
  describe(graph->add_output(), "y");
  auto* node = graph->add_node();
  node->set_op_type("Identity");
  node->add_input("x");
  node->add_output("y");
  return model;
}

TensorProto* add_tensor(::onnx::ModelProto& model, const std::string& name, int32_t type,
                        const Shape& shape) {
  auto* tensor = model.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(type);
  for (const int64_t size : shape) tensor->add_dims(size);
  return tensor;
}

template <class T>
std::vector<T> elements(const Tensor& tensor) {
  return {tensor.as<T>().begin(), tensor.as<T>().end()};
}

TEST(ImportOnnx, TypedFields) {
  auto model = small_model();
  auto* t = add_tensor(model, "f32", TensorProto::FLOAT, {2, 2});
  for (const float v : {1.5f, -0.0f, 3e38f, 1e-45f}) t->add_float_data(v);
  t = add_tensor(model, "f64", TensorProto::DOUBLE, {1});
  t->add_double_data(0.1);
  t = add_tensor(model, "i64", TensorProto::INT64, {3});
  for (const int64_t v : {INT64_MIN, int64_t{-1}, INT64_MAX}) t->add_int64_data(v);
  t = add_tensor(model, "i32", TensorProto::INT32, {2});
  for (const int32_t v : {INT32_MIN, INT32_MAX}) t->add_int32_data(v);
  t = add_tensor(model, "i16", TensorProto::INT16, {2});
  for (const int32_t v : {-32768, 32767}) t->add_int32_data(v);
  t = add_tensor(model, "i8", TensorProto::INT8, {3});
  for (const int32_t v : {-128, 0, 127}) t->add_int32_data(v);
  t = add_tensor(model, "u8", TensorProto::UINT8, {});
  t->add_int32_data(255);
  t = add_tensor(model, "bool", TensorProto::BOOL, {2});
  for (const int32_t v : {1, 0}) t->add_int32_data(v);
  t = add_tensor(model, "f16", TensorProto::FLOAT16, {2});
  for (const int32_t v : {0x3c00, 0xfc00}) t->add_int32_data(v);
  t = add_tensor(model, "bf16", TensorProto::BFLOAT16, {1});
  t->add_int32_data(0x3f80);
  add_tensor(model, "empty", TensorProto::FLOAT, {0, 7});
  const Graph graph = import_text(model.SerializeAsString());
  EXPECT_EQ(elements<float>(constant(graph, "f32")), (std::vector<float>{1.5f, -0.0f, 3e38f, 1e-45f}));
  EXPECT_TRUE(std::signbit(elements<float>(constant(graph, "f32"))[1]));
  EXPECT_EQ(elements<double>(constant(graph, "f64")), std::vector<double>{0.1});
  EXPECT_EQ(elements<int64_t>(constant(graph, "i64")), (std::vector<int64_t>{INT64_MIN, -1, INT64_MAX}));
  EXPECT_EQ(elements<int32_t>(constant(graph, "i32")), (std::vector<int32_t>{INT32_MIN, INT32_MAX}));
  EXPECT_EQ(elements<int16_t>(constant(graph, "i16")), (std::vector<int16_t>{-32768, 32767}));
  EXPECT_EQ(elements<int8_t>(constant(graph, "i8")), (std::vector<int8_t>{-128, 0, 127}));
  EXPECT_EQ(elements<uint8_t>(constant(graph, "u8")), std::vector<uint8_t>{255});
  EXPECT_EQ(constant(graph, "u8").shape, Shape{});
  EXPECT_EQ(elements<uint8_t>(constant(graph, "bool")), (std::vector<uint8_t>{1, 0}));
  EXPECT_EQ(elements<uint16_t>(constant(graph, "f16")), (std::vector<uint16_t>{0x3c00, 0xfc00}));
  EXPECT_EQ(constant(graph, "f16").dtype, DType::kF16);
  EXPECT_EQ(elements<uint16_t>(constant(graph, "bf16")), std::vector<uint16_t>{0x3f80});
  EXPECT_EQ(constant(graph, "empty").shape, (Shape{0, 7}));
  EXPECT_TRUE(constant(graph, "empty").bytes.empty());
}

/// Libonnx writes packed fields only; others write each element with a tag of its own, which is as good.
TEST(ImportOnnx, RepeatedFieldsThatAreNotPacked) {
  using namespace std::string_literals;
  // graph (7) { initializer (5) { dims 2, data_type, one field an element, name } }
  const auto with = [](const std::string& fields) {
    const std::string tensor = fields + "\x42\x01t"s;  // the name
    const std::string graph =
        small_model().graph().SerializeAsString() + "\x2a"s + static_cast<char>(tensor.size()) + tensor;
    auto rest = small_model();
    rest.clear_graph();
    const std::string bytes = rest.SerializeAsString() + "\x3a"s + static_cast<char>(graph.size()) + graph;
    EXPECT_TRUE(::onnx::ModelProto().ParseFromString(bytes));
    return bytes;
  };
  EXPECT_EQ(
      elements<float>(constant(import_text(with("\x08\x02\x10\x01\x25\0\0\x80\x3f\x25\0\0\0\xc0"s)), "t")),
      (std::vector<float>{1, -2}));
  EXPECT_EQ(elements<int64_t>(constant(import_text(with("\x08\x02\x10\x07\x38\x05\x38\x96\x01"s)), "t")),
            (std::vector<int64_t>{5, 150}));
  EXPECT_EQ(elements<uint8_t>(constant(import_text(with("\x08\x02\x10\x02\x28\x05\x28\xff\x01"s)), "t")),
            (std::vector<uint8_t>{5, 255}));
  // A list in two packed runs is one list; dims here are packed.
  EXPECT_EQ(elements<int64_t>(
                constant(import_text(with("\x0a\x02\x01\x03\x10\x07\x3a\x02\x01\x02\x3a\x01\x03"s)), "t")),
            (std::vector<int64_t>{1, 2, 3}));
}

TEST(ImportOnnx, ConstantNodes) {
  auto model = small_model();
  const auto add = [&](const std::string& output, const std::string& attribute) {
    auto* node = model.mutable_graph()->add_node();
    node->set_op_type("Constant");
    node->set_domain("ai.onnx");
    node->add_output(output);
    auto* made = node->add_attribute();
    made->set_name(attribute);
    return made;
  };
  auto* a = add("i", "value_int");
  a->set_type(AttributeProto::INT);
  a->set_i(-7);
  a = add("f", "value_float");
  a->set_type(AttributeProto::FLOAT);
  a->set_f(0.5);
  a = add("is", "value_ints");
  a->set_type(AttributeProto::INTS);
  for (const int64_t v : {4, -1}) a->add_ints(v);
  a = add("fs", "value_floats");
  a->set_type(AttributeProto::FLOATS);
  for (const float v : {4.f, -1.f}) a->add_floats(v);
  a = add("t", "value");  // the type may be missing in old files
  a->mutable_t()->set_data_type(TensorProto::INT64);
  a->mutable_t()->add_int64_data(9);
  a = add("zero", "value_int");  // a value of 0 may be left out
  a->set_type(AttributeProto::INT);
  const Graph graph = import_text(model.SerializeAsString());
  EXPECT_EQ(graph.nodes.size(), 1u);
  EXPECT_EQ(elements<int64_t>(constant(graph, "i")), std::vector<int64_t>{-7});
  EXPECT_EQ(constant(graph, "i").shape, Shape{});
  EXPECT_EQ(elements<float>(constant(graph, "f")), std::vector<float>{0.5});
  EXPECT_EQ(elements<int64_t>(constant(graph, "is")), (std::vector<int64_t>{4, -1}));
  EXPECT_EQ(constant(graph, "is").shape, Shape{2});
  EXPECT_EQ(elements<float>(constant(graph, "fs")), (std::vector<float>{4, -1}));
  EXPECT_EQ(elements<int64_t>(constant(graph, "t")), std::vector<int64_t>{9});
  EXPECT_EQ(elements<int64_t>(constant(graph, "zero")), std::vector<int64_t>{0});
}

TEST(ImportOnnx, NodesStandInAnyOrder) {
  auto model = small_model();
  auto* graph = model.mutable_graph();
  graph->clear_node();
  const auto add = [&](const std::string& name, std::vector<std::string> inputs) {
    auto* node = graph->add_node();
    node->set_name(name);
    node->set_op_type("Sum");
    for (const auto& input : inputs) node->add_input(input);
    node->add_output(name + "_out");
  };
  graph->mutable_output(0)->set_name("last_out");
  add("last", {"b_out", "c_out"});
  add("c", {"x", "", "a_out"});
  add("b", {"a_out", "a_out"});
  add("free", {"x"});
  add("a", {"x"});
  const Graph imported = import_text(model.SerializeAsString());
  std::vector<std::string> order;
  for (const Node& node : imported.nodes) order.push_back(node.name);
  EXPECT_EQ(order, (std::vector<std::string>{"free", "a", "c", "b", "last"}));
  EXPECT_EQ(imported.nodes[2].inputs[1], kNoValue);
}

TEST(ImportOnnx, InitializersAmongTheInputsAreConstants) {
  auto model = small_model();
  add_tensor(model, "w", TensorProto::FLOAT, {1})->add_float_data(2);
  auto* info = model.mutable_graph()->add_input();
  info->set_name("w");
  info->mutable_type()->mutable_tensor_type()->set_elem_type(TensorProto::FLOAT);
  const Graph graph = import_text(model.SerializeAsString());
  EXPECT_EQ(graph.inputs.size(), 1u);
  EXPECT_TRUE(graph.is_constant(find_value(graph, "w")));
}

TEST(ImportOnnx, AlignedElementsAreViews) {
  // Somewhere among eight lengths of a name the elements lie on a multiple of four, where they stay.
  int views = 0, copies = 0;
  for (size_t length = 1; length <= 8; ++length) {
    auto model = small_model();
    add_tensor(model, std::string(length, 't'), TensorProto::FLOAT, {4})
        ->set_raw_data(std::string("0123456789abcdef"));
    const auto owner = std::make_shared<std::string>(model.SerializeAsString());
    const Graph graph = import_onnx(std::as_bytes(std::span(*owner)), owner, "m", "/nonexistent");
    const Tensor& tensor = constant(graph, std::string(length, 't'));
    const auto* begin = reinterpret_cast<const std::byte*>(owner->data());
    const bool view = tensor.bytes.data() >= begin && tensor.bytes.data() < begin + owner->size();
    const size_t place = owner->find("0123456789abcdef");
    EXPECT_EQ(view, reinterpret_cast<uintptr_t>(owner->data() + place) % 4 == 0) << length;
    EXPECT_EQ(std::memcmp(tensor.bytes.data(), "0123456789abcdef", 16), 0);
    ++(view ? views : copies);
  }
  EXPECT_EQ(views, 2);
  EXPECT_EQ(copies, 6);
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
std::string field(uint32_t number, const std::string& content) {
  return varint(number << 3 | 2) + varint(content.size()) + content;
}

/// A file of `count` float tensors of `bytes` each, which are holes that take no space on the disk. Elements
/// begin at offsets that are `misalignment` after a multiple of four.
void write_large_model(const fs::path& path, size_t count, size_t bytes, size_t misalignment) {
  auto small = small_model();
  const std::string graph = small.graph().SerializeAsString();
  small.clear_graph();
  const std::string model = small.SerializeAsString();
  const auto tensor = [&](size_t i, size_t name_length) {
    std::string name = "t" + std::to_string(i);
    name.resize(name_length, '_');
    return varint(1 << 3) + varint(bytes / 4) + varint(2 << 3) + varint(1) + field(8, name) +
           varint(9 << 3 | 2) + varint(bytes);
  };
  // All tensors have headers of one length, a multiple of four with that of the elements.
  size_t name_length = 8;
  const auto header = [&](size_t i) {
    const std::string fields = tensor(i, name_length);
    return varint(5 << 3 | 2) + varint(fields.size() + bytes) + fields;
  };
  while (header(0).size() % 4 != 0) ++name_length;
  const size_t graph_size = graph.size() + count * (header(0).size() + bytes);
  std::string front = model;
  const std::string graph_tag = varint(7 << 3 | 2) + varint(graph_size);
  size_t padding = 0;  // an unknown field of the model
  while ((model.size() + field(1000, std::string(padding, ' ')).size() + graph_tag.size() + graph.size()) %
             4 !=
         misalignment)
    ++padding;
  front += field(1000, std::string(padding, ' ')) + graph_tag + graph;
  std::ofstream file(path, std::ios::binary);
  file << front;
  for (size_t i = 0; i < count; ++i) {
    file << header(i);
    file.seekp(static_cast<std::streamoff>(bytes), std::ios::cur);
  }
  file.close();
  fs::resize_file(path, front.size() + count * (header(0).size() + bytes));
}

size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  size_t all = 0, resident = 0;
  statm >> all >> resident;
  return resident * 4096;
}

constexpr size_t kMegabyte = size_t{1} << 20;

TEST(ImportOnnx, WeightsInPlaceAreNotTouched) {
  const ScratchDirectory directory;
  write_large_model(directory / "large.onnx", 8, 32 * kMegabyte, 0);
  const size_t before = resident_bytes();
  const Graph graph = import_onnx(directory / "large.onnx");
  EXPECT_LT(resident_bytes(), before + 8 * kMegabyte);
  size_t constants = 0;
  for (const Value& value : graph.values)
    if (value.constant) constants += value.constant->bytes.size();
  EXPECT_EQ(constants, 256 * kMegabyte);
}

TEST(ImportOnnx, CopiedWeightsAreNotInMemoryTwice) {
  const ScratchDirectory directory;
  write_large_model(directory / "large.onnx", 4, 16 * kMegabyte, 1);
  const size_t before = resident_bytes();
  const Graph graph = import_onnx(directory / "large.onnx");
  // 64 MB of copies; 128 if the pages that they were made from stayed.
  EXPECT_GT(resident_bytes(), before + 60 * kMegabyte);
  EXPECT_LT(resident_bytes(), before + 96 * kMegabyte);
}

}  // namespace
}  // namespace qdqbert::engine
