// Scalars for TensorBoard: the event file format, without TensorFlow.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace qdqbert::report {

/// CRC-32C (polynomial 0x1EDC6F41, reflected) of `bytes`.
uint32_t crc32c(std::span<const std::byte> bytes);

/// An append-only file of TFRecords (8 bytes of length, its masked CRC, payload, its masked CRC; little
/// endian), each payload a `tensorflow.Event` message. Every event is handed to the system at once, so a
/// killed run keeps what it logged.
class EventFile {
 public:
  /// Creates `directory` and in it `events.out.tfevents.SECONDS.HOST.PROCESS`.
  /// Throws SystemError when it cannot be written.
  explicit EventFile(const std::filesystem::path& directory);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  /// `value` of `tag` ("train/loss") after `step` optimizer steps, at the present time.
  /// Throws SystemError when the disk is full.
  void add_scalar(std::string_view tag, int64_t step, double value);
  const std::filesystem::path& path() const { return path_; }

 private:
  void append(std::string_view event);
  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
};

}  // namespace qdqbert::report
