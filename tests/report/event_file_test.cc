#include "qdqbert/report/event_file.h"

#include <bit>
#include <cstring>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

#include "tests/support/scratch_directory.h"

namespace qdqbert::report {
namespace {

uint32_t crc_of(std::string_view text) {
  return crc32c(std::as_bytes(std::span(text.data(), text.size())));
}

// The format's own statement: rotate right by 15 bits and add a constant.
uint32_t masked(std::string_view text) {
  const uint32_t crc = crc_of(text);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U;
}

template <class Integer>
Integer take(std::string_view& bytes) {
  Integer value;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
  return value;
}

std::vector<std::string> payloads(const std::filesystem::path& path) {
  const std::string content = read_file(path);
  std::string_view rest = content;
  std::vector<std::string> result;
  while (!rest.empty()) {
    const std::string_view length_bytes = rest.substr(0, 8);
    const auto length = take<uint64_t>(rest);
    EXPECT_EQ(take<uint32_t>(rest), masked(length_bytes));
    result.emplace_back(rest.substr(0, length));
    rest.remove_prefix(length);
    EXPECT_EQ(take<uint32_t>(rest), masked(result.back()));
  }
  return result;
}

// Vectors of RFC 3720, B.4.
TEST(Crc32c, PublishedVectors) {
  EXPECT_EQ(crc_of("123456789"), 0xE3069283U);
  EXPECT_EQ(crc_of(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc_of(std::string(32, '\xFF')), 0x62A8AB43U);
  EXPECT_EQ(crc_of(""), 0U);
}

TEST(EventFile, RecordsAreWhatTensorBoardReads) {
  const ScratchDirectory scratch;
  std::filesystem::path path;
  {
    EventFile file(scratch / "runs");
    path = file.path();
    file.add_scalar("train/loss", 300, 2.5);
    file.add_scalar("eval/f1", 3, -0.125);
  }
  EXPECT_EQ(path.filename().string().rfind("events.out.tfevents.", 0), 0U);
  const std::vector<std::string> events = payloads(path);
  ASSERT_EQ(events.size(), 3U);
  // 9: key of field 1 as a double; the time follows.
  EXPECT_EQ(events[0].substr(9), std::string("\x1a\x0d"
                                             "brain.Event:2"));
  EXPECT_EQ(events[0][0], '\x09');
  // step 300 is AC 02 as a varint; the summary is 19 bytes with one value
  // of 17: a tag of 10 letters, a float.
  const std::string loss = std::string("\x10\xAC\x02\x2A\x13\x0A\x11\x0A\x0A", 9) + "train/loss" + "\x15" +
                           std::string("\x00\x00\x20\x40", 4);
  EXPECT_EQ(events[1].substr(9), loss);
  const std::string f1 = std::string("\x10\x03\x2A\x10\x0A\x0E\x0A\x07", 8) + "eval/f1" + "\x15" +
                         std::string("\x00\x00\x00\xBE", 4);
  EXPECT_EQ(events[2].substr(9), f1);
}

TEST(EventFile, AnUnwritablePlaceIsNamed) {
  const ScratchDirectory scratch;
  write_file(scratch / "file", "x");
  try {
    EventFile file(scratch / "file");
    FAIL();
  } catch (const SystemError& error) {
    EXPECT_NE(std::string(error.what()).find("file"), std::string::npos);
  }
}

}  // namespace
}  // namespace qdqbert::report
