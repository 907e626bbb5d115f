// Reading zip archives in memory: stored entries without copying, deflated ones within a budget.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace qdqbert::io {

struct ZipEntry {
  std::string name;
  bool deflated = false;
  uint64_t size = 0;  ///< after decompression
  uint32_t crc = 0;
  std::span<const std::byte> packed;  ///< the bytes in the archive
};

/// Content of an entry: a view into the archive or a buffer of its own.
struct ZipContent {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  ///< empty for a view into the archive
};

/// The central directory of an archive (zip64 included) that the caller keeps alive.
class ZipArchive {
 public:
  /// `name` stands in messages. Throws InputError for anything that is not a well-formed single-disk archive
  /// with stored or deflated, unencrypted entries whose bytes do not overlap, and for a sum of sizes that
  /// betrays a zip bomb: more than 256 MiB and more than 16 times the archive.
  static ZipArchive parse(std::span<const std::byte> bytes, std::string name);

  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// nullptr when there is no such entry.
  const ZipEntry* find(std::string_view name) const;
  /// Throws InputError when the bytes do not inflate to the stated size or their checksum is wrong.
  ZipContent read(const ZipEntry& entry) const;

 private:
  std::string name_;
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string, size_t> index_;
};

/// Bytes that expanding `packed` bytes may take before it counts as a bomb.
uint64_t expansion_limit(uint64_t packed);

}  // namespace qdqbert::io
