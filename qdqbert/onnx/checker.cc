#include "qdqbert/onnx/checker.h"

#include <fstream>

#include <onnx/checker.h>
#include <onnx/defs/schema.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>

#include "qdqbert/base/error.h"

namespace qdqbert::onnx {
namespace {

/// The message with every initializer whose elements are elsewhere turned into an input of that shape.
::onnx::ModelProto skeleton(const Model& model) {
  ::onnx::ModelProto copy = model.proto();
  auto* graph = copy.mutable_graph();
  ::google::protobuf::RepeatedPtrField<::onnx::TensorProto> kept;
  for (auto& tensor : *graph->mutable_initializer()) {
    if (model.outside_elements(tensor.name()).empty()) {
      kept.Add(std::move(tensor));
      continue;
    }
    auto* input = graph->add_input();
    input->set_name(tensor.name());
    auto* type = input->mutable_type()->mutable_tensor_type();
    type->set_elem_type(tensor.data_type());
    for (int64_t size : tensor.dims()) type->mutable_shape()->add_dim()->set_dim_value(size);
  }
  graph->mutable_initializer()->Swap(&kept);
  return copy;
}

int64_t opset_of(const ::onnx::ModelProto& model) {
  for (const auto& import : model.opset_import())
    if (import.domain().empty() || import.domain() == "ai.onnx") return import.version();
  return 0;
}

std::string first_line(const char* text) {
  const std::string_view all(text);
  return std::string(all.substr(0, all.find('\n')));
}

template <class Check>
void run(const Check& check) {
  try {
    check();
  } catch (const ::onnx::checker::ValidationError& error) {
    fail("[onnx checker] {}", first_line(error.what()));
  } catch (const ::onnx::InferenceError& error) {
    fail("[onnx checker] shape inference: {}", first_line(error.what()));
  }
}

const ::onnx::ShapeInferenceOptions kStrict(/*check_type=*/true, /*error_mode=*/1, /*data_propagation=*/true);

}  // namespace

int newest_checked_opset() {
  return ::onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map().at("").second;
}

bool check_model(const Model& model) {
  if (opset_of(model.proto()) > newest_checked_opset()) return false;
  run([&] {
    ::onnx::ModelProto copy = skeleton(model);
    ::onnx::checker::check_model(copy);
    ::onnx::shape_inference::InferShapes(copy, ::onnx::OpSchemaRegistry::Instance(), kStrict);
  });
  return true;
}

bool check_file(const std::filesystem::path& path) {
  ::onnx::ModelProto model;
  std::ifstream stream(path, std::ios::binary);
  if (!model.ParseFromIstream(&stream)) fail("[onnx checker] {} is no ONNX model", path.string());
  if (opset_of(model) > newest_checked_opset()) return false;
  run([&] {
    ::onnx::checker::check_model(path.string());
    ::onnx::shape_inference::InferShapes(model, ::onnx::OpSchemaRegistry::Instance(), kStrict);
  });
  return true;
}

}  // namespace qdqbert::onnx
