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

/// The named tensors of a pickled dictionary, in its order. Throws InputError naming `name`
/// for anything else; a global that is not on the list of plain tensor parts is refused by
/// its name before anything is done with it.
std::vector<std::pair<std::string, PickledTensor>> unpickle_state_dict(std::span<const std::byte> pickle,
                                                                       const std::string& name);

}  // namespace qdqbert::io
