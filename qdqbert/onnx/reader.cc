#include "qdqbert/onnx/reader.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <map>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>
#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file_beside.h"
#include "qdqbert/base/mapped_file.h"

namespace qdqbert::onnx {
namespace {

namespace fs = std::filesystem;
using ::onnx::TensorProto;

/// The typed fields of a tensor as raw bytes.
template <class Stored, class Field>
std::string raw_bytes(const Field& field) {
  std::string bytes(field.size() * sizeof(Stored), '\0');
  char* out = bytes.data();
  for (const auto value : field) {
    const Stored stored = static_cast<Stored>(value);
    std::memcpy(out, &stored, sizeof stored);
    out += sizeof stored;
  }
  return bytes;
}

std::string typed_as_raw(const TensorProto& tensor, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return raw_bytes<float>(tensor.float_data());
    case DType::kF64:
      return raw_bytes<double>(tensor.double_data());
    case DType::kI64:
      return raw_bytes<int64_t>(tensor.int64_data());
    case DType::kI32:
      return raw_bytes<int32_t>(tensor.int32_data());
    case DType::kF16:
    case DType::kBF16:
    case DType::kI16:
      return raw_bytes<uint16_t>(tensor.int32_data());
    case DType::kI8:
    case DType::kU8:
    case DType::kBool:
      return raw_bytes<uint8_t>(tensor.int32_data());
  }
  return {};
}

uint64_t number_of(const std::string& text, const std::string& subject) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail("[onnx] {}: \"{}\" is no byte count", subject, text);
  return value;
}

class Loader {
 public:
  Loader(std::string name, fs::path directory) : name_(std::move(name)), directory_(std::move(directory)) {}

  Model load(std::span<const std::byte> bytes, const ReadLimits& limits) {
    if (bytes.size() > std::min<size_t>(limits.file_bytes, std::numeric_limits<int>::max()))
      fail("[onnx] {} has {} bytes, more than a model file can have", name_, bytes.size());
    ::google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t*>(bytes.data()),
                                                    static_cast<int>(bytes.size()));
    stream.SetTotalBytesLimit(std::numeric_limits<int>::max());
    Model model;
    const ::google::protobuf::LogSilencer quiet;  // it would print what we throw
    if (!model.proto().ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage())
      fail("[onnx] {} is no complete ONNX message", name_);
    if (!model.proto().has_graph()) fail("[onnx] {} has no graph", name_);
    auto& graph = *model.proto().mutable_graph();
    if (graph.node_size() > limits.nodes)
      fail("[onnx] {} has {} nodes, at most {} are read", name_, graph.node_size(), limits.nodes);
    if (graph.sparse_initializer_size() > 0) fail("[onnx] {} has sparse tensors, which are not read", name_);
    for (auto& tensor : *graph.mutable_initializer()) settle(tensor, &model);
    for (auto& node : *graph.mutable_node())
      for (auto& attribute : *node.mutable_attribute())
        if (attribute.has_t()) settle(*attribute.mutable_t(), nullptr);
    return model;
  }

 private:
  std::string subject(const TensorProto& tensor) const {
    return fmt::format("{}: tensor {}", name_, tensor.name());
  }

  uint64_t checked_count(const Shape& shape, const TensorProto& tensor) const {
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 8;  // elements have at most 8 bytes
    int64_t count = 1;
    for (const int64_t size : shape) {
      if (size < 0 || (size > 0 && count > kMost / size))
        fail("[onnx] {} has the impossible shape {}", subject(tensor), to_string(shape));
      count *= size;
    }
    return static_cast<uint64_t>(count);
  }

  /// `model` takes external elements; only initializers may have them.
  void settle(TensorProto& tensor, Model* model) {
    const DType dtype = dtype_of(tensor.data_type(), subject(tensor));
    const Shape shape(tensor.dims().begin(), tensor.dims().end());
    const uint64_t expected = checked_count(shape, tensor) * size_of(dtype);
    if (tensor.data_location() == TensorProto::EXTERNAL) {
      if (model == nullptr) fail("[onnx] {}: only initializers may have external data", subject(tensor));
      settle_external(tensor, expected, *model);
      return;
    }
    if (!tensor.has_raw_data()) {
      tensor.set_raw_data(typed_as_raw(tensor, dtype));
      tensor.clear_float_data();
      tensor.clear_int32_data();
      tensor.clear_int64_data();
      tensor.clear_double_data();
    }
    if (tensor.raw_data().size() != expected)
      fail("[onnx] {}: shape {} needs {} bytes, there are {}", subject(tensor), to_string(shape), expected,
           tensor.raw_data().size());
  }

  void settle_external(TensorProto& tensor, uint64_t expected, Model& model) {
    std::string location;
    uint64_t offset = 0, length = expected;
    for (const auto& entry : tensor.external_data()) {
      if (entry.key() == "location") location = entry.value();
      if (entry.key() == "offset") offset = number_of(entry.value(), subject(tensor));
      if (entry.key() == "length") length = number_of(entry.value(), subject(tensor));
    }
    if (length != expected)
      fail("[onnx] {}: its shape needs {} bytes, its external data has {}", subject(tensor), expected,
           length);
    const auto file = data_file(location, subject(tensor));
    const auto bytes = file->bytes();
    if (offset > bytes.size() || length > bytes.size() - offset)
      fail("[onnx] {}: bytes {} to {} lie outside of {}, which has {}", subject(tensor), offset,
           offset + length, location, bytes.size());
    tensor.clear_external_data();
    tensor.clear_data_location();
    tensor.clear_raw_data();
    if (length <= kInlineBytes) {
      tensor.set_raw_data(bytes.data() + offset, length);
    } else {
      model.set_elements(tensor.name(), bytes.subspan(offset, length), file);
    }
  }

  std::shared_ptr<const MappedFile> data_file(const std::string& location, const std::string& subject) {
    const auto found = files_.find(location);
    if (found != files_.end()) return found->second;
    return files_[location] = map_file_beside(directory_, location, "[onnx] " + subject);
  }

  std::string name_;
  fs::path directory_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace

Model read_model(const fs::path& path, const ReadLimits& limits) {
  const auto file = MappedFile::open(path);
  return Loader(path.string(), path.parent_path()).load(file->bytes(), limits);
}

Model parse_model(std::span<const std::byte> bytes, const std::string& name, const fs::path& directory,
                  const ReadLimits& limits) {
  return Loader(name, directory).load(bytes, limits);
}

}  // namespace qdqbert::onnx
