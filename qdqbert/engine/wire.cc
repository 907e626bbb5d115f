#include "qdqbert/engine/wire.h"

#include <cstring>

#include "qdqbert/base/error.h"

namespace qdqbert::engine {

std::span<const std::byte> WireReader::take(uint64_t count) {
  if (count > rest_.size())
    fail("[onnx] {}: a field of {} bytes, {} are left; the file is truncated or no ONNX model", what_, count,
         rest_.size());
  const auto taken = rest_.first(static_cast<size_t>(count));
  rest_ = rest_.subspan(static_cast<size_t>(count));
  return taken;
}

uint64_t WireReader::varint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const auto byte = std::to_integer<uint64_t>(take(1)[0]);
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  fail("[onnx] {}: a number of more than 10 bytes; this is no ONNX model", what_);
}

bool WireReader::next(WireField& field) {
  if (rest_.empty()) return false;
  const uint64_t key = varint();
  field.number = static_cast<uint32_t>(key >> 3);
  field.type = static_cast<uint32_t>(key & 7);
  if (key >> 3 == 0 || key >> 3 > (1u << 29))
    fail("[onnx] {}: field number {}; this is no ONNX model", what_, key >> 3);
  field.bytes = {};
  field.value = 0;
  switch (field.type) {
    case 0:
      field.value = varint();
      return true;
    case 1:
      std::memcpy(&field.value, take(8).data(), 8);
      return true;
    case 2:
      field.bytes = take(varint());
      return true;
    case 5: {
      uint32_t word = 0;
      std::memcpy(&word, take(4).data(), 4);
      field.value = word;
      return true;
    }
    default:
      fail("[onnx] {}: wire type {}; this is no ONNX model", what_, field.type);
  }
}

}  // namespace qdqbert::engine
