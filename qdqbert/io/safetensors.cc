#include "qdqbert/io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "qdqbert/base/file.h"
#include "qdqbert/base/mapped_file.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/io/refuse.h"

namespace qdqbert::io {

namespace {

constexpr uint64_t kLargestHeader = 100'000'000;  // the reference implementation's limit
constexpr std::string_view kMetadataKey = "__metadata__";

std::optional<DType> dtype_of(std::string_view name) {
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kI64, DType::kI32,
                            DType::kI16, DType::kI8, DType::kU8, DType::kBool})
    if (name_of(dtype) == name) return dtype;
  return std::nullopt;
}

struct Entry {
  std::string name;
  bool has_dtype = false, has_shape = false, has_range = false;
  DType dtype = DType::kF32;
  Shape shape;
  std::vector<uint64_t> range;
};

/// Receives the header's JSON event by event: exactly two levels deep,
/// no key twice, which a JSON tree would hide.
class HeaderReader {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  explicit HeaderReader(const std::string& file) : file_(file) {}

  std::vector<Entry> entries;
  Metadata metadata;

  bool null() { unexpected("null"); }
  bool boolean(bool) { unexpected("true or false"); }
  bool number_integer(number_integer_t value) { unexpected(fmt::format("the number {}", value)); }
  bool number_float(number_float_t, const string_t& text) { unexpected(fmt::format("the number {}", text)); }
  bool binary(binary_t&) { unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) {
    if (place_ == Place::kShape) {
      if (value > static_cast<uint64_t>(INT64_MAX)) unexpected(fmt::format("the number {}", value));
      entries.back().shape.push_back(static_cast<int64_t>(value));
    } else if (place_ == Place::kRange) {
      if (entries.back().range.size() == 2) unexpected("a third number");
      entries.back().range.push_back(value);
    } else {
      unexpected(fmt::format("the number {}", value));
    }
    return true;
  }

  bool string(string_t& value) {
    if (place_ == Place::kMetadata) {
      metadata.back().second = value;
    } else if (place_ == Place::kTensor && field_ == "dtype") {
      const std::optional<DType> dtype = dtype_of(value);
      if (!dtype)
        refuse("[safetensors] {}: tensor \"{}\" has the element type \"{}\", which is not supported", file_,
               entries.back().name, value);
      entries.back().dtype = *dtype;
      entries.back().has_dtype = true;
    } else {
      unexpected(fmt::format("the string \"{}\"", value));
    }
    return true;
  }

  bool start_object(size_t) {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
    } else if (place_ == Place::kTop && field_ == kMetadataKey) {
      place_ = Place::kMetadata;
    } else if (place_ == Place::kTop) {
      place_ = Place::kTensor;
      entries.emplace_back().name = field_;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool end_object() {
    if (place_ == Place::kTensor) {
      const Entry& entry = entries.back();
      const char* missing = !entry.has_dtype   ? "dtype"
                            : !entry.has_shape ? "shape"
                            : !entry.has_range ? "data_offsets"
                                               : nullptr;
      if (missing) refuse("[safetensors] {}: tensor \"{}\" has no {}", file_, entry.name, missing);
    }
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }

  bool start_array(size_t) {
    if (place_ == Place::kTensor && field_ == "shape" && !entries.back().has_shape) {
      place_ = Place::kShape;
      entries.back().has_shape = true;
    } else if (place_ == Place::kTensor && field_ == "data_offsets" && !entries.back().has_range) {
      place_ = Place::kRange;
      entries.back().has_range = true;
    } else {
      unexpected("an array");
    }
    return true;
  }

  bool end_array() {
    if (place_ == Place::kRange && entries.back().range.size() != 2)
      refuse("[safetensors] {}: tensor \"{}\" needs two data_offsets, has {}", file_, entries.back().name,
             entries.back().range.size());
    place_ = Place::kTensor;
    return true;
  }

  bool key(string_t& name) {
    if (place_ == Place::kTop) {
      if (!seen_.insert(name).second)
        refuse("[safetensors] {}: the name \"{}\" appears twice in the header", file_, name);
      field_ = name;
    } else if (place_ == Place::kMetadata) {
      if (!seen_metadata_.insert(name).second)
        refuse("[safetensors] {}: the metadata key \"{}\" appears twice", file_, name);
      metadata.emplace_back(name, std::string());
    } else {
      const Entry& entry = entries.back();
      if (name != "dtype" && name != "shape" && name != "data_offsets")
        refuse("[safetensors] {}: tensor \"{}\" has the unknown field \"{}\"", file_, entry.name, name);
      if ((name == "dtype" && entry.has_dtype) || (name == "shape" && entry.has_shape) ||
          (name == "data_offsets" && entry.has_range))
        refuse("[safetensors] {}: tensor \"{}\" has its {} twice", file_, entry.name, name);
      field_ = name;
    }
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) {
    refuse("[safetensors] {}: the header is not valid JSON at byte {}", file_,
           8 + position - (position > 0 ? 1 : 0));
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kShape, kRange, kEnd };

  [[noreturn]] void unexpected(std::string_view found) const {
    switch (place_) {
      case Place::kStart:
        refuse("[safetensors] {}: the header must be a JSON object, found {}", file_, found);
      case Place::kMetadata:
        refuse("[safetensors] {}: the metadata value \"{}\" must be a string, found {}", file_,
               metadata.back().first, found);
      case Place::kTop:
      case Place::kEnd:
        refuse("[safetensors] {}: \"{}\" must be an object with dtype, shape and data_offsets, found {}",
               file_, field_, found);
      default:
        refuse("[safetensors] {}: tensor \"{}\": {} must be {}, found {}", file_, entries.back().name, field_,
               field_ == "dtype" ? "a string" : "a list of non-negative integers", found);
    }
  }

  const std::string& file_;
  Place place_ = Place::kStart;
  std::string field_;
  std::unordered_set<std::string> seen_, seen_metadata_;
};

/// Bytes that the shape takes; throws for a count that does not fit 64 bits.
uint64_t byte_count(const std::string& file, std::string_view name, const Shape& shape, DType dtype) {
  uint64_t bytes = size_of(dtype);
  for (const int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes) || bytes > INT64_MAX)
      refuse("[safetensors] {}: tensor \"{}\" has the impossible shape {}", file, name, to_string(shape));
  return bytes;
}

}  // namespace

struct SafetensorsFile::Contents {
  std::string file;
  std::shared_ptr<const MappedFile> mapping;
  std::vector<NamedTensor> tensors;
  std::unordered_map<std::string_view, size_t> index;
  Metadata metadata;
};

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  const uint64_t file_size = bytes.size();
  if (file_size < 8)
    refuse("[safetensors] {}: {} bytes are too few for the 8-byte header size", name, file_size);
  uint64_t header_size = 0;
  for (size_t i = 0; i < 8; ++i) header_size |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  if (header_size > kLargestHeader)
    refuse("[safetensors] {}: the header size {} is above the limit of {} bytes", name, header_size,
           kLargestHeader);
  if (header_size > file_size - 8)
    refuse("[safetensors] {}: the header needs {} bytes, the file has {} after its first 8", name,
           header_size, file_size - 8);
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, header_size);
  if (header.empty() || header[0] != '{')
    refuse("[safetensors] {}: the header does not start with '{{'", name);
  if (const size_t bad = find_invalid_utf8(header); bad != std::string_view::npos)
    refuse("[safetensors] {}: the header is not valid UTF-8 at byte {}", name, 8 + bad);

  // The parser takes a zero byte for the end of the text.
  if (const size_t zero = header.find('\0'); zero != std::string_view::npos)
    refuse("[safetensors] {}: the header is not valid JSON at byte {}", name, 8 + zero);

  HeaderReader reader(name);
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);

  std::stable_sort(reader.entries.begin(), reader.entries.end(),
                   [](const Entry& a, const Entry& b) { return a.range < b.range; });
  const std::span<const std::byte> data = bytes.subspan(8 + header_size);
  auto contents = std::make_shared<Contents>();
  contents->file = name;
  contents->metadata = std::move(reader.metadata);
  contents->tensors.reserve(reader.entries.size());
  uint64_t end = 0;
  for (Entry& entry : reader.entries) {
    const uint64_t from = entry.range[0], to = entry.range[1];
    if (to < from || to > data.size())
      refuse("[safetensors] {}: tensor \"{}\" claims bytes {} to {}, the file has {} bytes of data", name,
             entry.name, from, to, data.size());
    if (from != end)
      refuse("[safetensors] {}: tensor \"{}\" starts at byte {}, {} the end of the one before at {}", name,
             entry.name, from, from < end ? "before" : "leaving a hole after", end);
    const uint64_t needed = byte_count(name, entry.name, entry.shape, entry.dtype);
    if (needed != to - from)
      refuse("[safetensors] {}: tensor \"{}\" of shape {} and type {} needs {} bytes, its offsets span {}",
             name, entry.name, to_string(entry.shape), name_of(entry.dtype), needed, to - from);
    end = to;
    contents->tensors.push_back(
        {std::move(entry.name), {entry.dtype, std::move(entry.shape), data.subspan(from, to - from)}});
  }
  if (end != data.size())
    refuse("[safetensors] {}: the tensors end at byte {} of the data, the file has {}", name, end,
           data.size());
  for (size_t i = 0; i < contents->tensors.size(); ++i) contents->index.emplace(contents->tensors[i].name, i);
  return SafetensorsFile(std::move(contents));
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  auto mapping = MappedFile::open(path);
  SafetensorsFile file = parse(mapping->bytes(), path.string());
  const_cast<Contents&>(*file.contents_).mapping = std::move(mapping);
  return file;
}

const std::vector<NamedTensor>& SafetensorsFile::tensors() const {
  return contents_->tensors;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const NamedTensor& entry : contents_->tensors) names.push_back(entry.name);
  return names;
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto found = contents_->index.find(name);
  return found == contents_->index.end() ? nullptr : &contents_->tensors[found->second].tensor;
}

const TensorView& SafetensorsFile::at(std::string_view name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  refuse("[safetensors] {} has no tensor \"{}\"", contents_->file, name);
}

const Metadata& SafetensorsFile::metadata() const {
  return contents_->metadata;
}

std::string SafetensorsFile::metadata(std::string_view key) const {
  for (const auto& [name, value] : contents_->metadata)
    if (name == key) return value;
  return {};
}

namespace {

/// Place of an element type in the reference writer's order; greater is written first.
int writing_rank(DType dtype) {
  constexpr DType rising[] = {DType::kBool, DType::kU8,  DType::kI8,  DType::kI16, DType::kF16,
                              DType::kBF16, DType::kI32, DType::kF32, DType::kF64, DType::kI64};
  return static_cast<int>(std::find(std::begin(rising), std::end(rising), dtype) - std::begin(rising));
}

std::string json_string(std::string_view text) {
  if (find_invalid_utf8(text) != std::string_view::npos)
    refuse("[safetensors] the name \"{}\" is not valid UTF-8", text);
  return nlohmann::json(text).dump();
}

}  // namespace

std::string safetensors_header(std::span<const NamedTensor> tensors, const Metadata& metadata,
                               std::vector<size_t>& order) {
  std::unordered_set<std::string_view> seen;
  for (const auto& [name, tensor] : tensors) {
    if (name == kMetadataKey) refuse("[safetensors] a tensor must not be named \"{}\"", name);
    if (!seen.insert(name).second) refuse("[safetensors] the name \"{}\" is given twice", name);
    const uint64_t needed = byte_count("output", name, tensor.shape, tensor.dtype);
    if (needed != tensor.data.size())
      refuse("[safetensors] tensor \"{}\" of shape {} and type {} needs {} bytes, {} are given", name,
             to_string(tensor.shape), name_of(tensor.dtype), needed, tensor.data.size());
  }
  order.resize(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int rank_a = writing_rank(tensors[a].tensor.dtype), rank_b = writing_rank(tensors[b].tensor.dtype);
    return rank_a != rank_b ? rank_a > rank_b : tensors[a].name < tensors[b].name;
  });

  std::string json = "{";
  if (!metadata.empty()) {
    json += fmt::format("\"{}\":{{", kMetadataKey);
    for (size_t i = 0; i < metadata.size(); ++i)
      json += fmt::format("{}{}:{}", i ? "," : "", json_string(metadata[i].first),
                          json_string(metadata[i].second));
    json += "}";
  }
  uint64_t offset = 0;
  for (const size_t i : order) {
    const auto& [name, tensor] = tensors[i];
    const uint64_t end = offset + tensor.data.size();
    json += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                        json.size() > 1 ? "," : "", json_string(name), name_of(tensor.dtype),
                        fmt::join(tensor.shape, ","), offset, end);
    offset = end;
  }
  json += "}";
  json.append((8 - json.size() % 8) % 8, ' ');
  if (json.size() > kLargestHeader)
    refuse("[safetensors] the header of {} tensors takes {} bytes, the limit is {}", tensors.size(),
           json.size(), kLargestHeader);

  std::string header;
  for (int i = 0; i < 8; ++i) header += static_cast<char>(json.size() >> (8 * i) & 0xff);
  return header + json;
}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const Metadata& metadata) {
  std::vector<size_t> order;
  const std::string header = safetensors_header(tensors, metadata, order);
  AtomicFile file(path);
  file.write(header);
  for (const size_t i : order) file.write(tensors[i].tensor.data);
  file.commit();
}

}  // namespace qdqbert::io
