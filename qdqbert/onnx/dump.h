// A graph as text, for people and tests.
#pragma once

#include <string>

#include "qdqbert/onnx/model.h"

namespace qdqbert::onnx {

/// Header, inputs, outputs, initializers with type and shape, and one line a node:
/// "MatMul /bert/.../MatMul (a, b) -> (c)  axis=1". Values are not printed.
std::string dump(const Model& model);

}  // namespace qdqbert::onnx
