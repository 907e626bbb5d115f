// pytorch_model.bin: a zip archive with a pickled dictionary of tensors, or the older file of several pickles. The pickle is read by a machine that
// knows nothing but plain tensors, so a file can make it do nothing else.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "qdqbert/io/tensor_set.h"

namespace qdqbert::io {

/// Maps and reads `path`, in the order of the dictionary. Storages that are stored (not deflated) and tensors
/// that are contiguous are views into the mapping; others are copied. Throws InputError naming the file, and
/// where there is one the tensor or the global: a pickle that refers to anything but plain tensors, a TorchScript archive, a zip bomb, a tensor that reaches past its storage.
TensorSet read_torch_pickle(const std::filesystem::path& path);

/// The same over bytes that the caller keeps alive; `name` stands in messages.
TensorSet parse_torch_pickle(std::span<const std::byte> bytes, const std::string& name);

}  // namespace qdqbert::io
