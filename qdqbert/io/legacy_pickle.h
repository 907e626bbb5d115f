// The files of PyTorch before 1.6: five pickles behind each other (magic number, version, facts about the machine,
// the object, the order of its storages), and then the storages.
#pragma once

#include <span>
#include <string>
#include <unordered_map>

#include "qdqbert/io/unpickler.h"

namespace qdqbert::io {

struct LegacyPickle {
  std::vector<std::pair<std::string, PickledTensor>> tensors;
  std::unordered_map<std::string, std::span<const std::byte>> storages;  ///< by key, views into the file
};

bool is_legacy_pickle(std::span<const std::byte> bytes);

/// Throws InputError naming `name` as unpickle_state_dict(), for another byte order, and for storages that are not
/// there whole.
LegacyPickle parse_legacy_pickle(std::span<const std::byte> bytes, const std::string& name);

}  // namespace qdqbert::io
