// The protobuf wire format, walked without messages: fields as views into the bytes.
// https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace qdqbert::engine {

struct WireField {
  static constexpr uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

  uint32_t number = 0;
  uint32_t type = 0;                 ///< one of the above
  uint64_t value = 0;                ///< of numbers
  std::span<const std::byte> bytes;  ///< of kBytes: messages, texts, packed numbers
};

/// Names are at most this long, in bytes.
inline constexpr size_t kLongestName = 4096;

/// Reads one message field by field; bytes of fields that are not asked for are not touched. `what` has to
/// outlive the reader. Throws InputError, with `what` as subject, for anything that runs over the end or is
/// no wire format: truncated or overlong varints, groups, field number 0.
class WireReader {
 public:
  WireReader(std::span<const std::byte> message, std::string_view what) : rest_(message), what_(what) {}

  /// False at the end of the message.
  bool next(WireField& field);

  /// What the field holds. Throws InputError when it is of another type, as do the others.
  int64_t integer(const WireField& field) const;
  float real(const WireField& field) const;
  std::span<const std::byte> bytes(const WireField& field) const;
  std::string text(const WireField& field) const;
  /// A text that can stand in a message or on a terminal: throws InputError unless it is UTF-8 without
  /// control characters, of at most kLongestName bytes.
  std::string name(const WireField& field) const;
  /// use(value) for each element of a repeated field, packed or not.
  template <class Use>
  void each_varint(const WireField& field, Use use) const {
    if (field.type == WireField::kVarint) return static_cast<void>(use(field.value));
    WireReader packed(bytes(field), what_);
    while (!packed.rest_.empty()) use(packed.varint());
  }

  template <class Use>
  void each_float(const WireField& field, Use use) const {
    if (field.type == WireField::kFixed32) return static_cast<void>(use(real(field)));
    WireReader packed(bytes(field), what_);
    while (!packed.rest_.empty()) use(packed.fixed32());
  }

 private:
  float fixed32();
  [[noreturn]] void refuse_type(const WireField& field) const;
  uint64_t varint();
  std::span<const std::byte> take(uint64_t count);
  std::span<const std::byte> rest_;
  std::string_view what_;
};

}  // namespace qdqbert::engine
