#include "qdqbert/base/file.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>

#include <fcntl.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/gzip.h"

namespace qdqbert {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path, size_t limit) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored))
    fail<SystemError>("[file] {} is a directory, a file is needed", path.string());
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) fail<SystemError>("[file] cannot open {}: {}", path.string(), std::strerror(errno));
  std::string content;
  if (const auto size = fs::file_size(path, ignored); !ignored && size < limit) content.reserve(size);
  char block[1 << 16];
  while (const size_t got = std::fread(block, 1, sizeof(block), file.get())) {
    if (content.size() + got > limit)
      fail("[file] {} is larger than the limit of {} bytes", path.string(), limit);
    content.append(block, got);
  }
  if (std::ferror(file.get()))
    fail<SystemError>("[file] cannot read {}: {}", path.string(), std::strerror(errno));
  return content;
}

std::string read_maybe_gzip(const fs::path& path) {
  std::string content = read_file(path);
  if (path.extension() != ".gz") return content;
  return gunzip(content, path.string());
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  static std::atomic<unsigned> counter{0};
  temporary_ = path_;
  temporary_ += fmt::format(".tmp{}.{}", ::getpid(), counter++);
  file_ = std::fopen(temporary_.c_str(), "wb");
  if (!file_) fail<SystemError>("[file] cannot write {}: {}", path_.string(), std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (!file_) return;
  std::fclose(file_);
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void AtomicFile::give_up(std::string_view doing) {
  const int error = errno;
  if (file_) std::fclose(std::exchange(file_, nullptr));
  std::error_code ignored;
  fs::remove(temporary_, ignored);
  fail<SystemError>("[file] {} {} failed: {}; what was there before is unchanged", doing, path_.string(),
                    std::strerror(error));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (!bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) give_up("writing");
}

void AtomicFile::commit() {
  if (std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) give_up("writing");
  if (std::fclose(std::exchange(file_, nullptr)) != 0) give_up("closing");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) give_up("renaming onto");
}

void write_file(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

void ensure_writable_directory(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (!fs::is_directory(directory))
    fail("[output] {} cannot be made a directory: {}", directory.string(),
         error ? error.message() : "a file is there");
  if (::access(directory.c_str(), W_OK | X_OK) != 0)
    fail("[output] directory {} is not writable: {}", directory.string(), std::strerror(errno));
  const fs::path probe = directory / fmt::format(".writable{}", ::getpid());
  const int fd = ::open(probe.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) fail("[output] directory {} is not writable: {}", directory.string(), std::strerror(errno));
  ::close(fd);
  ::unlink(probe.c_str());
}

}  // namespace qdqbert
