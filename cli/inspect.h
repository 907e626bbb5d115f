// What `qdqbert inspect` finds out about a model: facts as JSON, and the same as text for people.
#pragma once

#include <filesystem>
#include <string>

#include "qdqbert/base/json.h"

namespace qdqbert::cli {

/// Facts of a checkpoint directory: `config`, `weights` (file, tensors, parameters, bytes, types),
/// `quantizers` (module order: name, amax as a number, as {min, max, channels}, or null), `tokenizer` and
/// `quantization` where the files are there. Throws InputError as the readers do.
Json inspect_checkpoint(const std::filesystem::path& directory);
/// `all` lists every quantizer, otherwise those of the first layer.
std::string describe_checkpoint(const Json& facts, bool all);

/// Facts of an ONNX file: `graph` (IR version, opset, inputs, outputs, nodes by operator), `quantized` (Q/DQ
/// pairs with their tensors and scales) and `lint` (what TensorRT and ONNX Runtime make of each pair). Throws
/// InputError as the reader does.
Json inspect_onnx(const std::filesystem::path& file);
std::string describe_onnx(const Json& facts, bool all);

}  // namespace qdqbert::cli
