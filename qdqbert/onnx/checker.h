// libonnx's checker and shape inference over a model in memory or on disk.
#pragma once

#include <filesystem>

#include "qdqbert/onnx/model.h"

namespace qdqbert::onnx {

/// The newest operator set that this build's libonnx knows.
int newest_checked_opset();

/// Full check: structure, operator schemas, types, and strict shape inference. Elements outside of the
/// message are represented by their shapes. Returns false, unchecked, for an opset newer than
/// newest_checked_opset(); throws InputError with the checker's first line otherwise.
bool check_model(const Model& model);

/// The same over a file, with libonnx reading it (external data included).
bool check_file(const std::filesystem::path& path);

}  // namespace qdqbert::onnx
