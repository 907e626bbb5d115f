#include "qdqbert/report/event_file.h"

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <unistd.h>

#include "qdqbert/base/error.h"

namespace qdqbert::report {
namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  constexpr uint32_t kReflectedPolynomial = 0x82F63B78;
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? kReflectedPolynomial : 0);
    table[byte] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = make_crc_table();

uint32_t crc32c(std::string_view bytes) {
  return report::crc32c(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

// Rotation and offset keep a CRC stored inside of other checked data from cancelling out.
uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xA282EAD8U;
}

template <class Integer>
std::string little_endian(Integer value) {
  std::string bytes(sizeof value, '\0');
  for (size_t i = 0; i < sizeof value; ++i) bytes[i] = static_cast<char>(value >> 8 * i & 0xFF);
  return bytes;
}

// The few wire types of protocol buffers that an event needs. A key is field number * 8 + wire type.
std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
std::string integer_field(int number, int64_t value) {
  return varint(static_cast<uint64_t>(number) << 3) + varint(static_cast<uint64_t>(value));
}
std::string double_field(int number, double value) {
  return varint(static_cast<uint64_t>(number) << 3 | 1) + little_endian(std::bit_cast<uint64_t>(value));
}
std::string float_field(int number, float value) {
  return varint(static_cast<uint64_t>(number) << 3 | 5) + little_endian(std::bit_cast<uint32_t>(value));
}
std::string bytes_field(int number, std::string_view value) {
  return varint(static_cast<uint64_t>(number) << 3 | 2) + varint(value.size()) + std::string(value);
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes) {
  uint32_t value = ~0U;
  for (const std::byte byte : bytes)
    value = value >> 8 ^ kCrcTable[(value ^ std::to_integer<uint32_t>(byte)) & 0xFF];
  return ~value;
}

EventFile::EventFile(const std::filesystem::path& directory) {
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  const double time = now();
  path_ = directory /
          fmt::format("events.out.tfevents.{}.{}.{}", static_cast<int64_t>(time), host_name(), getpid());
  file_ = std::fopen(path_.c_str(), "ab");
  if (file_ == nullptr)
    fail<SystemError>("[event file] {} cannot be written: {}", path_.string(), std::strerror(errno));
  append(double_field(1, time) + bytes_field(3, "brain.Event:2"));
}

EventFile::~EventFile() {
  if (file_ != nullptr) std::fclose(file_);
}

void EventFile::add_scalar(std::string_view tag, int64_t step, double value) {
  const std::string entry = bytes_field(1, tag) + float_field(2, static_cast<float>(value));
  append(double_field(1, now()) + integer_field(2, step) + bytes_field(5, bytes_field(1, entry)));
}

void EventFile::append(std::string_view event) {
  const std::string length = little_endian(static_cast<uint64_t>(event.size()));
  std::string record = length + little_endian(masked_crc(length));
  record += event;
  record += little_endian(masked_crc(event));
  if (std::fwrite(record.data(), 1, record.size(), file_) != record.size() || std::fflush(file_) != 0)
    fail<SystemError>("[event file] writing {} failed: {}", path_.string(), std::strerror(errno));
}

}  // namespace qdqbert::report
