// A pickle machine restricted to what a dictionary of tensors needs. Values live in one arena
// and refer to each other by number: no recursion, so a file cannot exhaust the stack,
// and memory stays proportional to the file.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "qdqbert/base/dtype.h"

namespace qdqbert::io {

/// `numel` elements in the archive entry `data/<key>`.
struct PickledStorage {
  DType dtype = DType::kF32;
  std::string key;
  int64_t numel = 0;
};

/// A window into a storage; offset and strides count elements.
struct PickledTensor {
  PickledStorage storage;
  int64_t offset = 0;
  Shape shape;
  Shape strides;
};

struct UnpickledDict {
  std::vector<std::pair<std::string, PickledTensor>> tensors;  ///< in the order of the dictionary
  std::vector<PickledStorage> storages;                        ///< all that the pickle names
  size_t size = 0;                                             ///< bytes of the pickle
};

/// The named tensors of a pickled dictionary; numbers, texts and None beside them are left out. A dictionary
/// without tensors that has one with tensors under "state_dict", "model_state_dict", "model" or "module" is taken
/// for that. Throws InputError naming `name` for anything else; a global that is not on the list of plain tensor
/// parts is refused by its name before anything is done with it.
UnpickledDict unpickle_dict(std::span<const std::byte> pickle, const std::string& name);

/// Its tensors.
std::vector<std::pair<std::string, PickledTensor>> unpickle_state_dict(std::span<const std::byte> pickle,
                                                                       const std::string& name);

/// A pickled list of texts, and bytes that the pickle takes. Throws as unpickle_dict().
std::vector<std::string> unpickle_names(std::span<const std::byte> pickle, const std::string& name,
                                        size_t& size);

/// Bytes of a pickle of plain values. Throws as unpickle_dict(), and for one that says {"little_endian": False}.
size_t skip_pickle(std::span<const std::byte> pickle, const std::string& name);

}  // namespace qdqbert::io
