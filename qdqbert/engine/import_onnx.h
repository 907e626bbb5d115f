// From an ONNX file to the engine's graph, without protobuf messages: a walker over the wire format leaves
// views into the mapped file where initializers are.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine {

/// Maps the file, and files beside it for tensors with external data. Constant nodes become constants. F16
/// and BF16 initializers stay as they are. Elements that are not aligned for their type are copied. Throws
/// InputError naming file, node and operator: no ONNX message, truncated, cycles, dangling or doubly produced
/// names, sizes that do not fit the elements, element types without a DType, subgraphs, sparse tensors,
/// external locations that are absolute, leave the directory or lie outside of their file.
Graph import_onnx(const std::filesystem::path& path);

/// The same over bytes, which the graph's tensors may point into as long as `owner` lives.
Graph import_onnx(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                  const std::string& name, const std::filesystem::path& directory);

}  // namespace qdqbert::engine
