// The safetensors format: an 8-byte little-endian header size, a JSON header that gives each tensor's element
// type, shape and byte range, then the bytes of all tensors without holes.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qdqbert/base/dtype.h"
#include "qdqbert/io/tensor_set.h"

namespace qdqbert::io {

/// String pairs of the header's `__metadata__`, in file order.
using Metadata = std::vector<std::pair<std::string, std::string>>;

/// A read-only file. Tensors are views into the mapped pages and stay valid
/// while any copy of this object lives.
class SafetensorsFile {
 public:
  /// Maps and validates `path`. Throws InputError naming the path when the file is not a well-formed
  /// safetensors file: header size, JSON, names, element types, and byte ranges that must follow each other
  /// exactly to the end of the file.
  static SafetensorsFile open(const std::filesystem::path& path);

  /// The same over bytes that the caller keeps alive; `name` stands in messages.
  static SafetensorsFile parse(std::span<const std::byte> bytes, const std::string& name);

  /// All tensors in the order of their bytes.
  const std::vector<NamedTensor>& tensors() const;
  /// Names in the order of their bytes.
  std::vector<std::string> names() const;
  /// nullptr when there is no such tensor.
  const TensorView* find(std::string_view name) const;
  /// Throws InputError naming file and tensor when there is no such tensor.
  const TensorView& at(std::string_view name) const;
  const Metadata& metadata() const;
  /// Value of one metadata key, or an empty string.
  std::string metadata(std::string_view key) const;

 private:
  struct Contents;
  explicit SafetensorsFile(std::shared_ptr<const Contents> contents) : contents_(std::move(contents)) {}
  std::shared_ptr<const Contents> contents_;
};

/// Bytes of the file that the reference implementation would write: tensors sorted by falling alignment of
/// their element type, then by name; compact JSON padded with spaces to a multiple of 8. An empty metadata
/// list writes no `__metadata__`. Goes through AtomicFile, so an old file survives any failure. Throws
/// InputError for a repeated or reserved name and for a view whose byte count does not fit its shape,
/// SystemError when the disk refuses.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const Metadata& metadata = {});

/// The 8 bytes of size and the padded JSON that write_safetensors puts before the tensors; `order` receives
/// the indices of `tensors` in writing order.
std::string safetensors_header(std::span<const NamedTensor> tensors, const Metadata& metadata,
                               std::vector<size_t>& order);

}  // namespace qdqbert::io
