// Whole-file reading, and writing that never loses the file that was there.
#pragma once

#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace qdqbert {

/// Content of a file; throws SystemError when it cannot be read and InputError
/// when it is larger than `limit` bytes.
std::string read_file(const std::filesystem::path& path, size_t limit = size_t{1} << 33);

/// Content of a file, decompressed when its name ends in ".gz" (see gzip.h for the bomb limit).
std::string read_maybe_gzip(const std::filesystem::path& path);

/// Writes beside the target under a temporary name and renames on commit(), so a reader sees the old file or
/// the complete new one, also after a crash or on a full disk. Without commit() the temporary is removed.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Throws SystemError (disk full, ...), naming the target.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  /// Flushes to disk and renames onto the target.
  void commit();

 private:
  [[noreturn]] void give_up(std::string_view doing);
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::FILE* file_ = nullptr;
};

/// AtomicFile in one call.
void write_file(const std::filesystem::path& path, std::string_view content);

/// Creates `directory` (and parents) and proves that a file can be written there; throws InputError
/// otherwise. Called before long work so that nothing is computed that cannot be saved.
void ensure_writable_directory(const std::filesystem::path& directory);

}  // namespace qdqbert
