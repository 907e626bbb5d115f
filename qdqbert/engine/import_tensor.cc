#include "qdqbert/engine/import_tensor.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file_beside.h"
#include "qdqbert/engine/element_type.h"

namespace qdqbert::engine {

namespace {

namespace fs = std::filesystem;
using Bytes = std::span<const std::byte>;

// Field numbers of onnx.proto3.
namespace field {
constexpr uint32_t kDims = 1, kType = 2, kSegment = 3, kFloats = 4, kInts = 5, kStrings = 6, kLongs = 7,
                   kName = 8, kRaw = 9, kDoubles = 10, kUnsignedLongs = 11, kExternal = 13, kLocation = 14;
constexpr uint32_t kEntryKey = 1, kEntryValue = 2;
}  // namespace field

/// Copies give back the pages that they were read from after this many bytes.
constexpr size_t kReleaseEvery = size_t{16} << 20;

/// Bytes that the elements need. Sizes of 0 are left out of the product, so that the strides
/// of empty tensors do not overflow either.
uint64_t checked_bytes(const Shape& shape, DType dtype, const std::string& what) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 8;  // elements have at most 8 bytes
  int64_t count = 1;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0 || (size > 0 && count > kMost / size))
      fail("[onnx] {} has the impossible shape {}", what, to_string(shape));
    if (size == 0)
      empty = true;
    else
      count *= size;
  }
  return empty ? 0 : static_cast<uint64_t>(count) * size_of(dtype);
}

uint64_t number_of(const std::string& text, const std::string& what) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail("[onnx] {}: \"{}\" is no byte count", what, text);
  return value;
}

/// Elements of a repeated number, packed or not, without looking at them.
size_t count_varints(const WireField& field) {
  if (field.type != WireField::kBytes) return 1;  // each_varint() refuses other types
  return static_cast<size_t>(
      std::count_if(field.bytes.begin(), field.bytes.end(), [](std::byte b) { return b < std::byte{0x80}; }));
}
size_t count_fixed(const WireField& field, size_t size, const std::string& what) {
  if (field.type == (size == 4 ? WireField::kFixed32 : WireField::kFixed64)) return 1;
  if (field.type != WireField::kBytes || field.bytes.size() % size != 0)
    fail("[onnx] {}: {} bytes where numbers of {} should be", what, field.bytes.size(), size);
  return field.bytes.size() / size;
}

/// The range of int32_data elements that a type can hold; half floats are stored as their bits.
std::pair<int32_t, int32_t> stored_range(DType dtype) {
  switch (dtype) {
    case DType::kI8:
      return {-128, 127};
    case DType::kU8:
      return {0, 255};
    case DType::kBool:
      return {0, 1};
    case DType::kI16:
      return {-32768, 32767};
    case DType::kF16:
    case DType::kBF16:
      return {0, 65535};
    default:
      return {std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()};
  }
}

void check_booleans(Bytes bytes, const std::string& what) {
  for (const std::byte b : bytes)
    if (b > std::byte{1}) fail("[onnx] {}: a BOOL element is {}", what, static_cast<int>(b));
}

}  // namespace

DType dtype_of_onnx(int64_t onnx_type, std::string_view what) {
  const std::optional<DType> found = find_element_type(onnx_type);
  if (!found) fail("[onnx] {} has element type {}, which is not read", what, name_of_element_type(onnx_type));
  return *found;
}

struct TensorReader::Fields {
  Bytes message;
  std::string name, location, offset, length;  ///< the last three of external data; "" when not given
  Shape dims;
  int64_t type = 0;
  bool external = false, segmented = false;
  Bytes raw;
  size_t floats = 0, ints = 0, longs = 0, doubles = 0, others = 0;  ///< elements in typed fields
  size_t typed() const { return floats + ints + longs + doubles + others; }
};

TensorReader::TensorReader(std::string name, fs::path directory, std::shared_ptr<const void> owner,
                           const MappedFile* mapping)
    : name_(std::move(name)), directory_(std::move(directory)), owner_(std::move(owner)), mapping_(mapping) {}

TensorReader::Fields TensorReader::read_fields(Bytes message, const std::string& where) const {
  Fields t;
  t.message = message;
  WireReader reader(message, where);
  WireField f;
  while (reader.next(f)) {
    switch (f.number) {
      case field::kDims:
        if (t.dims.size() + count_varints(f) > kHighestRank)
          fail("[onnx] {}: a tensor of more than {} dimensions", where, kHighestRank);
        reader.each_varint(f, [&](uint64_t size) { t.dims.push_back(static_cast<int64_t>(size)); });
        break;
      case field::kType:
        t.type = reader.integer(f);
        break;
      case field::kSegment:
        t.segmented = true;
        break;
      case field::kFloats:
        t.floats += count_fixed(f, 4, where);
        break;
      case field::kInts:
        t.ints += count_varints(f);
        break;
      case field::kLongs:
        t.longs += count_varints(f);
        break;
      case field::kDoubles:
        t.doubles += count_fixed(f, 8, where);
        break;
      case field::kStrings:
      case field::kUnsignedLongs:
        ++t.others;
        break;
      case field::kName:
        t.name = reader.name(f);
        break;
      case field::kRaw:
        t.raw = reader.bytes(f);
        break;
      case field::kExternal: {
        std::string key, value;
        WireReader entry(reader.bytes(f), where);
        WireField part;
        while (entry.next(part)) {
          if (part.number == field::kEntryKey) key = entry.name(part);
          if (part.number == field::kEntryValue) value = entry.name(part);
        }
        if (key == "location") t.location = value;
        if (key == "offset") t.offset = value;
        if (key == "length") t.length = value;
        break;
      }
      case field::kLocation:
        t.external = reader.integer(f) == 1;
        break;
      default:
        break;
    }
  }
  return t;
}

std::pair<std::string, Tensor> TensorReader::read(Bytes message, const std::string& where) {
  Fields t = read_fields(message, name_ + ": " + where);
  const std::string what = t.name.empty() ? name_ + ": " + where : name_ + ": " + where + " " + t.name;
  const DType dtype = dtype_of_onnx(t.type, what);
  const uint64_t expected = checked_bytes(t.dims, dtype, what);
  if (t.segmented) fail("[onnx] {} is stored in segments, which are not read", what);
  const int places = (t.external ? 1 : 0) + (t.raw.empty() ? 0 : 1) + (t.typed() > 0 ? 1 : 0);
  if (places > 1) fail("[onnx] {} has its elements in {} places", what, places);
  if (t.external) return {std::move(t.name), external(t, dtype, expected, what)};
  if (t.typed() > 0) return {std::move(t.name), typed(t, dtype, what)};
  if (t.raw.size() != expected)
    fail("[onnx] {}: shape {} needs {} bytes, there are {}", what, to_string(t.dims), expected, t.raw.size());
  if (dtype == DType::kBool) check_booleans(t.raw, what);
  return {std::move(t.name), in_place_or_copied(dtype, t.dims, t.raw, owner_, mapping_)};
}

Tensor TensorReader::in_place_or_copied(DType dtype, const Shape& shape, Bytes bytes,
                                        std::shared_ptr<const void> owner, const MappedFile* mapping) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % size_of(dtype) == 0)
    return {dtype, shape, bytes, std::move(owner)};
  WritableTensor copy = allocate_tensor(dtype, shape);
  if (!bytes.empty()) std::memcpy(copy.data, bytes.data(), bytes.size());
  copied_ += bytes.size();
  if (mapping && copied_ >= kReleaseEvery) {
    mapping->release_pages();
    copied_ = 0;
  }
  return copy.tensor;
}

Tensor TensorReader::typed(const Fields& t, DType dtype, const std::string& what) const {
  const size_t fitting = dtype == DType::kF32   ? t.floats
                         : dtype == DType::kF64 ? t.doubles
                         : dtype == DType::kI64 ? t.longs
                                                : t.ints;
  if (fitting != t.typed())
    fail("[onnx] {}: {} of its elements lie in a field that {} does not use", what, t.typed() - fitting,
         name_of(dtype));
  const auto needed = static_cast<uint64_t>(element_count(t.dims));
  if (fitting != needed)
    fail("[onnx] {}: shape {} needs {} elements, there are {}", what, to_string(t.dims), needed, fitting);

  WritableTensor tensor = allocate_tensor(dtype, t.dims);
  std::byte* out = tensor.data;
  const auto put = [&](auto value) {
    std::memcpy(out, &value, sizeof(value));
    out += sizeof(value);
  };
  const auto put_fixed = [&](const WireField& f, size_t size) {
    const auto* single = reinterpret_cast<const std::byte*>(&f.value);
    const Bytes bytes = f.type == WireField::kBytes ? f.bytes : Bytes(single, size);
    if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
    out += bytes.size();
  };
  const auto range = stored_range(dtype);
  const auto put_int = [&](uint64_t bits) {
    // As protobuf reads an int32: the low half.
    const auto value = static_cast<int32_t>(bits);
    if (value < range.first || value > range.second)
      fail("[onnx] {}: {} does not fit {}", what, value, name_of(dtype));
    if (size_of(dtype) == 4)
      put(value);
    else if (size_of(dtype) == 2)
      put(static_cast<uint16_t>(value));
    else
      put(static_cast<uint8_t>(value));
  };
  WireReader reader(t.message, what);
  WireField f;
  while (reader.next(f)) {
    if (f.number == field::kFloats) put_fixed(f, 4);
    if (f.number == field::kDoubles) put_fixed(f, 8);
    if (f.number == field::kLongs) reader.each_varint(f, put);
    if (f.number == field::kInts) reader.each_varint(f, put_int);
  }
  return tensor.tensor;
}

Tensor TensorReader::external(const Fields& t, DType dtype, uint64_t expected, const std::string& what) {
  const uint64_t offset = t.offset.empty() ? 0 : number_of(t.offset, what);
  const uint64_t length = t.length.empty() ? expected : number_of(t.length, what);
  if (length != expected)
    fail("[onnx] {}: shape {} needs {} bytes, its external data has {}", what, to_string(t.dims), expected,
         length);
  auto& file = files_[t.location];
  if (!file) file = map_file_beside(directory_, t.location, "[onnx] " + what);
  const Bytes bytes = file->bytes();
  if (offset > bytes.size() || length > bytes.size() - offset)
    fail("[onnx] {}: {} bytes from {} lie outside of {}, which has {}", what, length, offset, t.location,
         bytes.size());
  const Bytes elements = bytes.subspan(static_cast<size_t>(offset), static_cast<size_t>(length));
  if (dtype == DType::kBool) check_booleans(elements, what);
  return in_place_or_copied(dtype, t.dims, elements, file, file.get());
}

}  // namespace qdqbert::engine
