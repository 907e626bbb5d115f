// The protobuf wire format, walked without messages: fields as views into the bytes.
// https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace qdqbert::engine {

struct WireField {
  uint32_t number = 0;
  uint32_t type = 0;                 ///< 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes
  uint64_t value = 0;                ///< of types 0, 1 and 5
  std::span<const std::byte> bytes;  ///< of type 2

  std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  int64_t integer() const { return static_cast<int64_t>(value); }
};

/// Reads one message field by field. Throws InputError, with `what` as subject, for anything that runs over
/// the end or is no wire format: truncated or overlong varints, groups, field number 0.
class WireReader {
 public:
  WireReader(std::span<const std::byte> message, std::string_view what) : rest_(message), what_(what) {}

  /// False at the end of the message.
  bool next(WireField& field);

  /// One varint from the front; for packed repeated fields.
  uint64_t varint();
  bool at_end() const { return rest_.empty(); }

 private:
  std::span<const std::byte> take(uint64_t count);
  std::span<const std::byte> rest_;
  std::string_view what_;
};

}  // namespace qdqbert::engine
