#include "tests/onnx/golden_weights.h"

#include <cstring>
#include <memory>

#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"
#include "qdqbert/onnx/reader.h"

namespace qdqbert::testing {
namespace {

namespace fs = std::filesystem;

io::TensorSet from_file(const fs::path& path) {
  const io::SafetensorsFile file = io::SafetensorsFile::open(path);
  io::TensorSet set;
  for (const auto& [name, tensor] : file.tensors()) set.add(name, tensor);
  set.keep(std::make_shared<io::SafetensorsFile>(file));
  return set;
}

/// "/bert/encoder/layer.0/output/dense/MatMul" to "bert.encoder.layer.0.output.dense.weight".
std::string weight_key(std::string node) {
  node = node.substr(1, node.rfind('/') - 1);
  for (char& c : node)
    if (c == '/') c = '.';
  return node + ".weight";
}

OwnedTensor transposed(const TensorView& matrix) {
  OwnedTensor result{matrix.dtype, {matrix.shape[1], matrix.shape[0]}, {}};
  result.data.resize(matrix.data.size());
  const size_t rows = static_cast<size_t>(matrix.shape[0]), columns = static_cast<size_t>(matrix.shape[1]);
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c)
      std::memcpy(result.data.data() + 4 * (c * rows + r), matrix.data.data() + 4 * (r * columns + c), 4);
  return result;
}

io::TensorSet from_model(const fs::path& path) {
  const auto model = std::make_shared<onnx::Model>(onnx::read_model(path));
  io::TensorSet set;
  set.keep(model);
  for (const auto& tensor : model->proto().graph().initializer())
    if (tensor.name().find("::") == std::string::npos)
      set.add(tensor.name(), model->initializer(tensor.name()));
  for (const auto& node : model->proto().graph().node()) {
    if (node.op_type() != "MatMul" || model->find_initializer(node.input(1)) == nullptr) continue;
    const auto matrix = std::make_shared<OwnedTensor>(transposed(model->initializer(node.input(1))));
    set.add(weight_key(node.name()), matrix->view());
    set.keep(matrix);
  }
  return set;
}

}  // namespace

io::TensorSet golden_weights(const fs::path& directory, const Json& description) {
  if (fs::exists(directory / "weights.safetensors")) return from_file(directory / "weights.safetensors");
  const std::string where = description.value("weights", "");
  const std::string reference = "those of ";
  if (where.starts_with(reference))
    return from_file(directory.parent_path() / where.substr(reference.size()) / "weights.safetensors");
  return from_model(directory / "model.onnx");
}

}  // namespace qdqbert::testing
