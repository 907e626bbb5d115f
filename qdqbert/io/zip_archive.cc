#include "qdqbert/io/zip_archive.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include <zlib.h>

#include "qdqbert/io/refuse.h"

namespace qdqbert::io {

namespace {

constexpr uint32_t kLocalSignature = 0x04034b50, kCentralSignature = 0x02014b50, kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50, kLocator64Signature = 0x07064b50;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20;
constexpr uint64_t kMostEntries = 1'000'000;

/// Little-endian numbers out of bytes, with every access checked.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  template <class T>
  T number(uint64_t at) const {
    const auto bytes = slice(at, sizeof(T));
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
      value = static_cast<T>(value | static_cast<T>(static_cast<T>(bytes[i]) << (8 * i)));
    return value;
  }
  std::span<const std::byte> slice(uint64_t at, uint64_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at)
      refuse("[zip] {}: the archive is truncated: bytes {} to {} are needed, it has {}", name_, at, at + size,
             bytes_.size());
    return bytes_.subspan(at, size);
  }
  std::string_view text(uint64_t at, uint64_t size) const {
    const auto bytes = slice(at, size);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  uint64_t size() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
  const std::string& name_;
};

struct Directory {
  uint64_t offset = 0, size = 0, entries = 0;
};

Directory find_directory(const Reader& reader, const std::string& name) {
  if (reader.size() < kEndSize)
    refuse("[zip] {}: {} bytes are too few for a zip archive", name, reader.size());
  // The end record is followed by a comment of at most 65535 bytes whose length it states.
  const uint64_t last = reader.size() - kEndSize;
  const uint64_t first = last - std::min<uint64_t>(last, 0xffff);
  std::optional<uint64_t> end;
  for (uint64_t at = last + 1; at-- > first && !end;)
    if (reader.number<uint32_t>(at) == kEndSignature && reader.number<uint16_t>(at + 20) == last - at)
      end = at;
  if (!end) refuse("[zip] {}: no zip directory is at the end; the file is truncated or no zip archive", name);
  if (reader.number<uint16_t>(*end + 4) != reader.number<uint16_t>(*end + 6))
    refuse("[zip] {}: the archive spans several disks", name);
  Directory directory{reader.number<uint32_t>(*end + 16), reader.number<uint32_t>(*end + 12),
                      reader.number<uint16_t>(*end + 10)};
  if (*end >= kLocator64Size && reader.number<uint32_t>(*end - kLocator64Size) == kLocator64Signature) {
    const uint64_t end64 = reader.number<uint64_t>(*end - kLocator64Size + 8);
    reader.slice(end64, kEnd64Size);
    if (reader.number<uint32_t>(end64) != kEnd64Signature)
      refuse("[zip] {}: the zip64 directory record is damaged", name);
    directory = {reader.number<uint64_t>(end64 + 48), reader.number<uint64_t>(end64 + 40),
                 reader.number<uint64_t>(end64 + 32)};
  }
  if (directory.entries > kMostEntries)
    refuse("[zip] {}: {} entries are above the limit of {}", name, directory.entries, kMostEntries);
  reader.slice(directory.offset, directory.size);
  return directory;
}

/// Replaces fields that are all ones by the 64-bit ones of the extra block, which stand in this order.
void apply_zip64(const Reader& reader, uint64_t at, uint64_t length, std::initializer_list<uint64_t*> fields,
                 const std::string& name) {
  const uint64_t end = at + length;
  while (at + 4 <= end) {
    const uint16_t tag = reader.number<uint16_t>(at), size = reader.number<uint16_t>(at + 2);
    at += 4;
    if (size > end - at) refuse("[zip] {}: an extra field runs past its block", name);
    if (tag == 1) {
      uint64_t left = size, place = at;
      for (uint64_t* field : fields) {
        if (*field != 0xffffffffu) continue;
        if (left < 8) refuse("[zip] {}: a zip64 field is too short", name);
        *field = reader.number<uint64_t>(place);
        place += 8;
        left -= 8;
      }
    }
    at += size;
  }
}

}  // namespace

uint64_t expansion_limit(uint64_t packed) {
  constexpr uint64_t kAlwaysAllowed = uint64_t{256} << 20;
  return std::max(kAlwaysAllowed,
                  packed > (uint64_t{1} << 58) ? std::numeric_limits<uint64_t>::max() : 16 * packed);
}

ZipArchive ZipArchive::parse(std::span<const std::byte> bytes, std::string name) {
  ZipArchive archive;
  archive.name_ = std::move(name);
  const Reader reader(bytes, archive.name_);
  const Directory directory = find_directory(reader, archive.name_);
  const uint64_t directory_end = directory.offset + directory.size;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  uint64_t at = directory.offset, total = 0;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (at + kCentralSize > directory_end || reader.number<uint32_t>(at) != kCentralSignature)
      refuse("[zip] {}: directory entry {} of {} is damaged", archive.name_, i + 1, directory.entries);
    const uint16_t flags = reader.number<uint16_t>(at + 8), method = reader.number<uint16_t>(at + 10);
    const uint16_t name_size = reader.number<uint16_t>(at + 28),
                   extra_size = reader.number<uint16_t>(at + 30),
                   comment_size = reader.number<uint16_t>(at + 32);
    uint64_t packed_size = reader.number<uint32_t>(at + 20), size = reader.number<uint32_t>(at + 24),
             local = reader.number<uint32_t>(at + 42);
    ZipEntry entry;
    entry.name = reader.text(at + kCentralSize, name_size);
    entry.crc = reader.number<uint32_t>(at + 16);
    apply_zip64(reader, at + kCentralSize + name_size, extra_size, {&size, &packed_size, &local},
                archive.name_);
    at += kCentralSize + name_size + extra_size + comment_size;
    if (at > directory_end)
      refuse("[zip] {}: directory entry {} runs past the directory", archive.name_, i + 1);

    if (flags & 1) refuse("[zip] {}: the entry \"{}\" is encrypted", archive.name_, entry.name);
    if (method != 0 && method != 8)
      refuse(
          "[zip] {}: the entry \"{}\" uses the compression method {}; "
          "only stored and deflated entries are read",
          archive.name_, entry.name, method);
    entry.deflated = method == 8;
    entry.size = size;
    if (!entry.deflated && size != packed_size)
      refuse("[zip] {}: the stored entry \"{}\" has {} bytes but states {}", archive.name_, entry.name,
             packed_size, size);
    if (!archive.index_.emplace(entry.name, archive.entries_.size()).second)
      refuse("[zip] {}: the entry \"{}\" appears twice", archive.name_, entry.name);

    reader.slice(local, kLocalSize);
    if (reader.number<uint32_t>(local) != kLocalSignature ||
        reader.number<uint16_t>(local + 26) != name_size ||
        reader.text(local + kLocalSize, name_size) != entry.name)
      refuse("[zip] {}: the entry \"{}\" is not where the directory says, at byte {}", archive.name_,
             entry.name, local);
    const uint64_t begin = local + kLocalSize + name_size + reader.number<uint16_t>(local + 28);
    entry.packed = reader.slice(begin, packed_size);
    if (packed_size > 0) ranges.emplace_back(local, begin + packed_size);
    if (__builtin_add_overflow(total, size, &total) || total > expansion_limit(bytes.size()))
      refuse(
          "[zip] {}: the entries up to \"{}\" expand to {} bytes from an archive of {}: "
          "refused as a zip bomb",
          archive.name_, entry.name, total, bytes.size());
    archive.entries_.push_back(std::move(entry));
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].first < ranges[i - 1].second)
      refuse("[zip] {}: two entries share the bytes from {}: refused as a zip bomb", archive.name_,
             ranges[i].first);
  return archive;
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &entries_[found->second];
}

ZipContent ZipArchive::read(const ZipEntry& entry) const {
  ZipContent content{entry.packed, nullptr};
  if (entry.deflated) {
    // Deflate cannot expand more than 1032-fold, so a larger claim is false and
    // nothing needs to be allocated for it.
    if (entry.size / 1032 > entry.packed.size())
      refuse("[zip] {}: the entry \"{}\" states {} bytes, more than its {} can expand to", name_, entry.name,
             entry.size, entry.packed.size());
    auto buffer = std::make_shared<std::vector<std::byte>>(entry.size + 1);
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) refuse("[zip] {}: the decompressor does not start", name_);
    size_t done = 0, given = 0;
    int status = Z_OK;
    constexpr size_t kStep = size_t{1} << 30;  // zlib counts in 32 bits
    while (status == Z_OK) {
      const size_t in = std::min(kStep, entry.packed.size() - given),
                   out = std::min(kStep, buffer->size() - done);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(entry.packed.data() + given));
      stream.avail_in = static_cast<uInt>(in);
      stream.next_out = reinterpret_cast<Bytef*>(buffer->data() + done);
      stream.avail_out = static_cast<uInt>(out);
      status = inflate(&stream, Z_NO_FLUSH);
      given += in - stream.avail_in;
      done += out - stream.avail_out;
    }
    inflateEnd(&stream);
    if (status != Z_STREAM_END || done != entry.size)
      refuse("[zip] {}: the entry \"{}\" does not inflate to its {} bytes", name_, entry.name, entry.size);
    content = {std::span<const std::byte>(*buffer).first(entry.size), buffer};
  }
  uLong crc = crc32_z(0, nullptr, 0);
  crc = crc32_z(crc, reinterpret_cast<const Bytef*>(content.bytes.data()), content.bytes.size());
  if (!content.bytes.empty() && crc != entry.crc)
    refuse("[zip] {}: the entry \"{}\" is damaged: its checksum is {:08x}, the directory says {:08x}", name_,
           entry.name, crc, entry.crc);
  return content;
}

}  // namespace qdqbert::io
