#include "qdqbert/io/torch_pickle.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "qdqbert/base/mapped_file.h"
#include "qdqbert/io/legacy_pickle.h"
#include "qdqbert/io/refuse.h"
#include "qdqbert/io/unpickler.h"
#include "qdqbert/io/zip_archive.h"

namespace qdqbert::io {

namespace {

constexpr uint64_t kLargestPickle = uint64_t{64} << 20;

bool starts_with(std::span<const std::byte> bytes, std::string_view start) {
  return bytes.size() >= start.size() && std::memcmp(bytes.data(), start.data(), start.size()) == 0;
}

void refuse_other_formats(std::span<const std::byte> bytes, const std::string& name) {
  if (starts_with(bytes, "PK")) return;
  if (bytes.size() > 262 && std::memcmp(bytes.data() + 257, "ustar", 5) == 0)
    refuse("[pickle] {} is a tar archive, the format of PyTorch before 0.2, which is not read", name);
  refuse("[pickle] {} is not a zip archive, which pytorch_model.bin has to be", name);
}

/// Elements of a window into a storage, checked against its size.
class Window {
 public:
  Window(const PickledTensor& tensor, const std::string& file, const std::string& name) : tensor_(tensor) {
    for (const int64_t size : tensor.shape)
      if (size == 0) count_ = 0;
    for (const int64_t size : tensor.shape)
      if (__builtin_mul_overflow(count_, size, &count_))
        refuse("[pickle] {}: the tensor \"{}\" has the impossible shape {}", file, name,
               to_string(tensor.shape));
    int64_t last = tensor.offset;
    bool overflow = false;
    for (size_t i = 0; i < tensor.shape.size() && count_ > 0; ++i) {
      int64_t step = 0;
      overflow = overflow || __builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &step) ||
                 __builtin_add_overflow(last, step, &last);
    }
    const int64_t numel = tensor.storage.numel;
    if (overflow || (count_ > 0 ? last >= numel : tensor.offset > numel))
      refuse(
          "[pickle] {}: the tensor \"{}\" of shape {}, strides {} and offset {} reaches "
          "past its storage of {} elements",
          file, name, to_string(tensor.shape), to_string(tensor.strides), tensor.offset, numel);
  }

  int64_t count() const { return count_; }

  bool contiguous() const {
    if (count_ == 0) return true;
    int64_t step = 1;
    for (size_t i = tensor_.shape.size(); i-- > 0;) {
      if (tensor_.shape[i] != 1 && tensor_.strides[i] != step) return false;
      step *= tensor_.shape[i];
    }
    return true;
  }

  /// Row-major copy.
  std::vector<std::byte> gather(std::span<const std::byte> storage) const {
    const size_t element = size_of(tensor_.storage.dtype);
    std::vector<std::byte> out(static_cast<size_t>(count_) * element);
    std::vector<int64_t> index(tensor_.shape.size(), 0);
    int64_t from = tensor_.offset;
    for (int64_t i = 0; i < count_; ++i) {
      std::memcpy(out.data() + static_cast<size_t>(i) * element,
                  storage.data() + static_cast<size_t>(from) * element, element);
      for (size_t d = index.size(); d-- > 0;) {
        from += tensor_.strides[d];
        if (++index[d] < tensor_.shape[d]) break;
        from -= tensor_.strides[d] * tensor_.shape[d];
        index[d] = 0;
      }
    }
    return out;
  }

 private:
  const PickledTensor& tensor_;
  int64_t count_ = 1;
};

const ZipEntry& pickle_entry(const ZipArchive& archive, const std::string& name, std::string& prefix) {
  const ZipEntry* found = nullptr;
  for (const ZipEntry& entry : archive.entries()) {
    const size_t slash = entry.name.find('/');
    if (slash == std::string::npos) continue;
    const std::string_view rest = std::string_view(entry.name).substr(slash + 1);
    if (rest == "constants.pkl")
      refuse("[pickle] {} is a TorchScript archive with code, not a dictionary of tensors", name);
    if (rest != "data.pkl") continue;
    if (found)
      refuse("[pickle] {}: both {} and {} are there, one data.pkl is needed", name, found->name, entry.name);
    found = &entry;
    prefix = entry.name.substr(0, slash + 1);
  }
  if (!found) refuse("[pickle] {}: the archive has no data.pkl", name);
  if (found->size > kLargestPickle)
    refuse("[pickle] {}: {} has {} bytes, the limit is {}", name, found->name, found->size, kLargestPickle);
  return *found;
}

/// The storages of a zip archive by key, each read once.
class ArchivedStorages {
 public:
  ArchivedStorages(std::span<const std::byte> bytes, const std::string& name)
      : archive_(ZipArchive::parse(bytes, name)),
        name_(name),
        code_(archive_.read(pickle_entry(archive_, name, prefix_))) {
    if (const ZipEntry* order = archive_.find(prefix_ + "byteorder")) {
      const ZipContent content = archive_.read(*order);
      if (!starts_with(content.bytes, "little"))
        refuse("[pickle] {}: the tensors are not in little-endian byte order", name);
    }
  }

  std::span<const std::byte> code() const { return code_.bytes; }
  std::span<const std::byte> at(const std::string& key, const std::string& tensor, TensorSet& set) {
    const std::string entry_name = prefix_ + "data/" + key;
    auto storage = read_.find(entry_name);
    if (storage == read_.end()) {
      const ZipEntry* entry = archive_.find(entry_name);
      if (!entry)
        refuse("[pickle] {}: the storage {} of the tensor \"{}\" is missing", name_, entry_name, tensor);
      storage = read_.emplace(entry_name, archive_.read(*entry)).first;
      if (storage->second.owner) set.keep(storage->second.owner);
    }
    return storage->second.bytes;
  }

 private:
  ZipArchive archive_;
  const std::string& name_;
  std::string prefix_;
  ZipContent code_;
  std::unordered_map<std::string, ZipContent> read_;
};

}  // namespace

TensorSet parse_torch_pickle(std::span<const std::byte> bytes, const std::string& name) {
  std::optional<ArchivedStorages> archive;
  LegacyPickle legacy;
  if (is_legacy_pickle(bytes)) {
    legacy = parse_legacy_pickle(bytes, name);
  } else {
    refuse_other_formats(bytes, name);
    archive.emplace(bytes, name);
    legacy.tensors = unpickle_state_dict(archive->code(), name);
  }

  TensorSet set;
  const uint64_t limit = expansion_limit(bytes.size());
  uint64_t copied = 0;
  for (const auto& [tensor_name, tensor] : legacy.tensors) {
    const std::string& key = tensor.storage.key;
    const auto found = legacy.storages.find(key);
    if (!archive && found == legacy.storages.end())
      refuse("[pickle] {}: the storage {} of the tensor \"{}\" is missing", name, key, tensor_name);
    const std::span<const std::byte> data = archive ? archive->at(key, tensor_name, set) : found->second;
    const size_t element = size_of(tensor.storage.dtype);
    if (data.size() % element != 0 || data.size() / element != static_cast<uint64_t>(tensor.storage.numel))
      refuse(
          "[pickle] {}: the storage {} of the tensor \"{}\" should have {} elements of {}, it has {} bytes",
          name, key, tensor_name, tensor.storage.numel, name_of(tensor.storage.dtype), data.size());
    const Window window(tensor, name, tensor_name);
    TensorView view{tensor.storage.dtype, tensor.shape, {}};
    if (window.contiguous()) {
      view.data = data.subspan(static_cast<size_t>(tensor.offset) * element,
                               static_cast<size_t>(window.count()) * element);
    } else if (window.count() > 0) {
      // Strides of zero make a large tensor of few bytes;
      // what they may take together is bounded like inflating.
      if (__builtin_add_overflow(copied, static_cast<uint64_t>(window.count()), &copied) ||
          copied > limit / element)
        refuse("[pickle] {}: the tensor \"{}\" of shape {} expands the file beyond {} bytes", name,
               tensor_name, to_string(tensor.shape), limit);
      auto buffer = std::make_shared<std::vector<std::byte>>(window.gather(data));
      view.data = *buffer;
      set.keep(buffer);
    }
    set.add(tensor_name, std::move(view));
  }
  return set;
}

TensorSet read_torch_pickle(const std::filesystem::path& path) {
  auto mapping = MappedFile::open(path);
  TensorSet set = parse_torch_pickle(mapping->bytes(), path.string());
  set.keep(std::move(mapping));
  return set;
}

}  // namespace qdqbert::io
