#include "qdqbert/io/legacy_pickle.h"

#include <cstring>

#include "qdqbert/io/refuse.h"

namespace qdqbert::io {

namespace {

// Protocol 2, a ten-byte integer that is the format's magic number.
constexpr std::string_view kMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14);

/// A storage is its number of elements, and then these.
std::span<const std::byte> take_storage(std::span<const std::byte>& rest, const PickledStorage& storage,
                                        const std::string& name) {
  int64_t numel = 0;
  if (rest.size() < sizeof(numel))
    refuse("[pickle] {}: the file ends before the storage {}", name, storage.key);
  std::memcpy(&numel, rest.data(), sizeof(numel));
  rest = rest.subspan(sizeof(numel));
  if (numel != storage.numel)
    refuse("[pickle] {}: the storage {} should have {} elements, the file says {}", name, storage.key,
           storage.numel, numel);
  const size_t element = size_of(storage.dtype);
  if (static_cast<uint64_t>(numel) > rest.size() / element)
    refuse("[pickle] {}: the storage {} of {} elements of {} is cut off", name, storage.key, numel,
           name_of(storage.dtype));
  const auto bytes = rest.first(static_cast<size_t>(numel) * element);
  rest = rest.subspan(bytes.size());
  return bytes;
}

}  // namespace

bool is_legacy_pickle(std::span<const std::byte> bytes) {
  return bytes.size() >= kMagic.size() && std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

LegacyPickle parse_legacy_pickle(std::span<const std::byte> bytes, const std::string& name) {
  std::span<const std::byte> rest = bytes;
  for (int skipped = 0; skipped < 3; ++skipped) rest = rest.subspan(skip_pickle(rest, name));
  UnpickledDict dict = unpickle_dict(rest, name);
  rest = rest.subspan(dict.size);
  size_t size = 0;
  const std::vector<std::string> order = unpickle_names(rest, name, size);
  rest = rest.subspan(size);
  std::unordered_map<std::string_view, const PickledStorage*> known;
  for (const PickledStorage& storage : dict.storages) known.emplace(storage.key, &storage);
  LegacyPickle out;
  for (const std::string& key : order) {
    const auto found = known.find(key);
    if (found == known.end()) refuse("[pickle] {}: no tensor uses the storage {}", name, key);
    if (!out.storages.emplace(key, take_storage(rest, *found->second, name)).second)
      refuse("[pickle] {}: the storage {} stands twice", name, key);
  }
  out.tensors = std::move(dict.tensors);
  return out;
}

}  // namespace qdqbert::io
