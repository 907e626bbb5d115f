// ONNX files that are wrong on purpose: each is refused with one sentence that names the file.
#include <filesystem>
#include <random>

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/onnx/bert_graph.h"
#include "qdqbert/onnx/dump.h"
#include "qdqbert/onnx/lint.h"
#include "qdqbert/onnx/reader.h"
#include "qdqbert/onnx/summary.h"
#include "qdqbert/onnx/writer.h"

#include "tests/onnx/random_bert.h"

namespace qdqbert::onnx {
namespace {

namespace fs = std::filesystem;

class HostileOnnx : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::path(::testing::TempDir()) / fmt::format("hostile_onnx_{}", ::getpid());
    fs::create_directories(directory_ / "inside");
    path_ = directory_ / "inside" / "model.onnx";
    qdqbert::testing::RandomBertOptions shape;
    shape.layers = 1;
    model_ = build_bert_graph(qdqbert::testing::RandomBert(shape).source());
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string good_bytes() {
    write_model(model_, path_);
    return read_file(path_);
  }
  /// The message of the refusal, one line that names the file.
  std::string refusal(const std::string& bytes) {
    write_file(path_, bytes);
    return refusal();
  }
  std::string refusal() {
    try {
      read_model(path_);
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find(path_.string()), std::string::npos) << text;
      EXPECT_EQ(text.find('\n'), std::string::npos) << text;
      return text;
    }
    return "accepted";
  }
  /// The refusal of the good model with one initializer changed.
  template <class Change>
  std::string refusal_of_tensor(const Change& change) {
    ::onnx::ModelProto proto = model_.proto();
    auto* graph = proto.mutable_graph();
    graph->clear_initializer();
    auto* tensor = graph->add_initializer();
    tensor->set_name("t");
    tensor->set_data_type(::onnx::TensorProto::FLOAT);
    tensor->add_dims(2);
    tensor->set_raw_data(std::string(8, '\0'));
    change(*tensor);
    return refusal(proto.SerializeAsString());
  }
  std::string refusal_of_external(const std::string& location, const std::string& offset,
                                  const std::string& length) {
    return refusal_of_tensor([&](::onnx::TensorProto& tensor) {
      tensor.clear_raw_data();
      tensor.set_data_location(::onnx::TensorProto::EXTERNAL);
      for (const auto& [key, value] :
           {std::pair("location", location), std::pair("offset", offset), std::pair("length", length)}) {
        auto* entry = tensor.add_external_data();
        entry->set_key(key);
        entry->set_value(value);
      }
    });
  }

  fs::path directory_, path_;
  Model model_;
};

TEST_F(HostileOnnx, NoFileAndEmptyFile) {
  EXPECT_NE(refusal(), "accepted");
  EXPECT_NE(refusal("").find("has no graph"), std::string::npos);
}

TEST_F(HostileOnnx, Garbage) {
  std::mt19937 engine(7);
  for (size_t size : {1, 10, 1000, 100'000}) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(engine());
    EXPECT_NE(refusal(bytes), "accepted") << size;
  }
  EXPECT_NE(refusal("version https://git-lfs.github.com/spec/v1\n"), "accepted");
}

TEST_F(HostileOnnx, TruncatedAnywhere) {
  const std::string good = good_bytes();
  EXPECT_EQ(refusal(good), "accepted");
  for (size_t size = 40; size < good.size(); size += good.size() / 97)
    EXPECT_NE(refusal(good.substr(0, size)), "accepted") << size;
}

TEST_F(HostileOnnx, FlippedBitsNeverCrash) {
  const std::string good = good_bytes();
  std::mt19937 engine(11);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = good;
    // Most bytes are weights; the first ones are structure.
    const size_t reach = round % 2 ? bytes.size() : std::min<size_t>(bytes.size(), 20'000);
    bytes[engine() % reach] ^= static_cast<char>(1 << engine() % 8);
    try {
      const Model model = parse_model(std::as_bytes(std::span(bytes)), "flipped", directory_);
      dump(model);
      summarize(model);
      lint(model);
    } catch (const Error&) {
    }
  }
}

TEST_F(HostileOnnx, ShapesThatDoNotFit) {
  EXPECT_NE(refusal_of_tensor([](auto& t) { t.set_dims(0, 3); }).find("needs 12 bytes, there are 8"),
            std::string::npos);
  EXPECT_NE(refusal_of_tensor([](auto& t) { t.set_dims(0, -2); }), "accepted");
  EXPECT_NE(refusal_of_tensor([](auto& t) { t.set_dims(0, int64_t{1} << 62); }), "accepted");
  EXPECT_NE(refusal_of_tensor([](auto& t) {
              t.set_dims(0, int64_t{1} << 32);
              t.add_dims(int64_t{1} << 32);
            }),
            "accepted");
  EXPECT_NE(refusal_of_tensor([](auto& t) { t.clear_raw_data(); }), "accepted");
}

TEST_F(HostileOnnx, ElementTypesThatAreNotRead) {
  EXPECT_NE(refusal_of_tensor([](auto& t) { t.set_data_type(::onnx::TensorProto::STRING); }).find("STRING"),
            std::string::npos);
  EXPECT_NE(refusal_of_tensor([](auto& t) { t.set_data_type(12345); }).find("12345"), std::string::npos);
}

TEST_F(HostileOnnx, ExternalDataMustLieBesideTheModel) {
  write_file(directory_ / "secret", std::string(100, 's'));
  write_file(directory_ / "inside" / "data", std::string(100, 'd'));
  EXPECT_EQ(refusal_of_external("data", "92", "8"), "accepted");
  for (const std::string& location :
       {std::string("../secret"), std::string("inside/../../secret"), (directory_ / "secret").string(),
        std::string("/etc/hostname"), std::string(), std::string("absent"), std::string("."),
        std::string("data\0x", 6)})
    EXPECT_NE(refusal_of_external(location, "0", "8"), "accepted") << location;
  fs::create_symlink(directory_ / "secret", directory_ / "inside" / "link");
  EXPECT_NE(refusal_of_external("link", "0", "8").find("leads out of"), std::string::npos);
}

TEST_F(HostileOnnx, ExternalDataMustLieInsideItsFile) {
  write_file(directory_ / "inside" / "data", std::string(100, 'd'));
  EXPECT_NE(refusal_of_external("data", "93", "8").find("lie outside of"), std::string::npos);
  EXPECT_NE(refusal_of_external("data", "101", "8"), "accepted");
  EXPECT_NE(refusal_of_external("data", "18446744073709551612", "8"), "accepted");
  EXPECT_NE(refusal_of_external("data", "0", "4"), "accepted");
  EXPECT_NE(refusal_of_external("data", "-8", "8"), "accepted");
  EXPECT_NE(refusal_of_external("data", "0", "8 "), "accepted");
  EXPECT_NE(refusal_of_external("data", "99999999999999999999", "8"), "accepted");
}

TEST_F(HostileOnnx, DeepNesting) {
  // Graphs inside attributes of nodes inside graphs: the parser's own limit stops it.
  ::onnx::ModelProto proto;
  ::onnx::GraphProto inner;
  inner.set_name("g");
  for (int depth = 0; depth < 200; ++depth) {
    ::onnx::GraphProto outer;
    auto* attribute = outer.add_node()->add_attribute();
    attribute->set_name("body");
    attribute->mutable_g()->Swap(&inner);
    inner.Swap(&outer);
  }
  proto.mutable_graph()->Swap(&inner);
  EXPECT_NE(refusal(proto.SerializeAsString()), "accepted");
}

TEST_F(HostileOnnx, CyclesDoNotHangTheLint) {
  auto* graph = model_.proto().mutable_graph();
  for (auto& node : *graph->mutable_node())
    if (node.op_type() == "Transpose") node.set_input(0, node.output(0));
  EXPECT_GT(lint(model_).pairs.size(), 0u);
}

}  // namespace
}  // namespace qdqbert::onnx
