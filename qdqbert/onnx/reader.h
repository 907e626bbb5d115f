// Reads ONNX files that may be hostile: every size and path is checked before it is used.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "qdqbert/onnx/model.h"

namespace qdqbert::onnx {

struct ReadLimits {
  size_t file_bytes = size_t{2} << 30;  ///< of the model file; what a message can hold
  int64_t nodes = 1 << 20;
};

/// Maps `path` and, for tensors with external data, files beside it. All initializers and Constant
/// values are raw (typed fields are converted) and have exactly the bytes that their shape needs;
/// no tensor is sparse. Throws InputError naming the file and what is wrong: no ONNX message, no graph,
/// an unknown element type, a size that does not fit, an external location that is absolute, leaves
/// the directory or lies outside of its file.
Model read_model(const std::filesystem::path& path, const ReadLimits& limits = {});

/// The same over bytes; external data is searched in `directory`. `name` stands in messages.
Model parse_model(std::span<const std::byte> bytes, const std::string& name,
                  const std::filesystem::path& directory, const ReadLimits& limits = {});

}  // namespace qdqbert::onnx
