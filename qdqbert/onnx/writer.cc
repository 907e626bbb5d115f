#include "qdqbert/onnx/writer.h"

#include <algorithm>

#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/math.h"

namespace qdqbert::onnx {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLargestMessage = (size_t{7} << 30) / 4;

// Wire format: a field is its tag (number * 8 + 2 for length-delimited content), the length, the content.
constexpr char kGraphTag = (7 << 3) | 2;        // ModelProto.graph
constexpr char kInitializerTag = (5 << 3) | 2;  // GraphProto.initializer
constexpr char kRawDataTag = (9 << 3) | 2;      // TensorProto.raw_data
constexpr char kTensorTextTag = (12 << 3) | 2;  // TensorProto.doc_string

std::string field_start(char tag, uint64_t length) {
  std::string bytes(1, tag);
  while (length >= 0x80) {
    bytes.push_back(static_cast<char>(length | 0x80));
    length >>= 7;
  }
  bytes.push_back(static_cast<char>(length));
  return bytes;
}

std::string serialized(const ::google::protobuf::Message& message) {
  std::string bytes;
  if (!message.SerializeToString(&bytes)) fail<Error>("[onnx] a message could not be serialized");
  return bytes;
}

/// One initializer with elements outside of the message: its fields without them, and where they are.
struct Outside {
  std::string fields;
  std::span<const std::byte> elements;

  std::string raw_start() const { return field_start(kRawDataTag, elements.size()); }
  uint64_t message_size() const { return fields.size() + raw_start().size() + elements.size(); }
  /// Bytes of the whole field before its elements.
  std::string start() const { return field_start(kInitializerTag, message_size()) + fields + raw_start(); }

  /// Adds a text of blanks, so that elements begin at a multiple of kDataAlignment when the field begins at
  /// `offset` of the file: whoever maps the file reads them in place.
  void align(uint64_t offset) {
    const std::string plain = fields;
    for (size_t blanks = 0; (offset + start().size()) % kDataAlignment != 0; ++blanks)
      fields = plain + field_start(kTensorTextTag, blanks) + std::string(blanks, ' ');
  }
};

/// Moves the initializers with outside elements out of `graph`.
std::vector<::onnx::TensorProto> take_outside(const Model& model, ::onnx::GraphProto& graph) {
  std::vector<::onnx::TensorProto> taken;
  ::google::protobuf::RepeatedPtrField<::onnx::TensorProto> kept;
  for (auto& tensor : *graph.mutable_initializer()) {
    if (model.outside_elements(tensor.name()).empty()) {
      kept.Add(std::move(tensor));
    } else {
      taken.push_back(std::move(tensor));
    }
  }
  graph.mutable_initializer()->Swap(&kept);
  return taken;
}

/// The file in wire format without ever holding it in memory: fields may come in any order, so the large
/// initializers are appended to the graph.
void write_single(const Model& model, ::onnx::ModelProto proto, AtomicFile& file) {
  std::vector<Outside> outside;
  for (const auto& tensor : take_outside(model, *proto.mutable_graph()))
    outside.push_back({serialized(tensor), model.outside_elements(tensor.name())});
  const std::string graph = serialized(proto.graph());
  proto.clear_graph();
  const std::string head = serialized(proto);

  // The length of the graph stands before it, in as many bytes as it takes, and moves everything behind.
  // Should it never settle, elements lie where they lie.
  const std::vector<Outside> plain = outside;
  uint64_t graph_size = graph.size();
  std::string graph_start;
  for (int round = 0; round < 4 && graph_start.size() != field_start(kGraphTag, graph_size).size(); ++round) {
    graph_start = field_start(kGraphTag, graph_size);
    outside = plain;
    graph_size = graph.size();
    for (Outside& tensor : outside) {
      tensor.align(head.size() + graph_start.size() + graph_size);
      graph_size += tensor.start().size() + tensor.elements.size();
    }
  }
  file.write(head);
  file.write(field_start(kGraphTag, graph_size));
  file.write(graph);
  for (const Outside& tensor : outside) {
    file.write(tensor.start());
    file.write(tensor.elements);
  }
}

void add_entry(::onnx::TensorProto& tensor, const char* key, const std::string& value) {
  auto* entry = tensor.add_external_data();
  entry->set_key(key);
  entry->set_value(value);
}

void write_external(const Model& model, ::onnx::ModelProto proto, const std::string& location,
                    AtomicFile& file, AtomicFile& data) {
  uint64_t offset = 0;
  for (auto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    const auto elements = model.outside_elements(tensor.name());
    if (elements.empty()) continue;
    const uint64_t start = round_up(offset, kDataAlignment);
    data.write(std::string(start - offset, '\0'));
    data.write(elements);
    offset = start + elements.size();
    tensor.set_data_location(::onnx::TensorProto::EXTERNAL);
    add_entry(tensor, "location", location);
    add_entry(tensor, "offset", std::to_string(start));
    add_entry(tensor, "length", std::to_string(elements.size()));
  }
  file.write(serialized(proto));
}

}  // namespace

std::vector<fs::path> write_model(const Model& model, const fs::path& path, const WriteOptions& options) {
  AtomicFile file(path);
  if (model.outside_bytes() <= std::min(options.external_data_threshold, kLargestMessage)) {
    write_single(model, model.proto(), file);
    file.commit();
    return {path};
  }
  fs::path data_path = path;
  data_path += ".data";
  AtomicFile data(data_path);
  write_external(model, model.proto(), data_path.filename().string(), file, data);
  data.commit();
  file.commit();
  return {path, data_path};
}

}  // namespace qdqbert::onnx
