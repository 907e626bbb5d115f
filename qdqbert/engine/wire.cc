#include "qdqbert/engine/wire.h"

#include <bit>
#include <cstring>

#include "qdqbert/base/error.h"
#include "qdqbert/base/utf8.h"

namespace qdqbert::engine {

namespace {

/// U+0000 to U+001F and U+007F to U+009F, in well-formed UTF-8.
bool has_controls(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    if (byte == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0) return true;
  }
  return false;
}

}  // namespace

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
    if (shift == 63 && byte > 1) break;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  fail("[onnx] {}: a number of more than 64 bits; this is no ONNX model", what_);
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

float WireReader::fixed32() {
  float value = 0;
  std::memcpy(&value, take(4).data(), 4);
  return value;
}

int64_t WireReader::integer(const WireField& field) const {
  if (field.type != WireField::kVarint) refuse_type(field);
  return static_cast<int64_t>(field.value);
}

float WireReader::real(const WireField& field) const {
  if (field.type != WireField::kFixed32) refuse_type(field);
  return std::bit_cast<float>(static_cast<uint32_t>(field.value));
}

std::span<const std::byte> WireReader::bytes(const WireField& field) const {
  if (field.type != WireField::kBytes) refuse_type(field);
  return field.bytes;
}

std::string WireReader::text(const WireField& field) const {
  const auto all = bytes(field);
  return {reinterpret_cast<const char*>(all.data()), all.size()};
}

std::string WireReader::name(const WireField& field) const {
  if (bytes(field).size() > kLongestName)
    fail("[onnx] {}: a name of {} bytes; at most {} are read", what_, field.bytes.size(), kLongestName);
  std::string name = text(field);
  if (find_invalid_utf8(name) != std::string::npos) fail("[onnx] {}: a name that is not UTF-8", what_);
  if (has_controls(name)) fail("[onnx] {}: a name with control characters", what_);
  return name;
}

void WireReader::refuse_type(const WireField& field) const {
  fail("[onnx] {}: field {} has wire type {}; this is no ONNX model", what_, field.number, field.type);
}

}  // namespace qdqbert::engine
