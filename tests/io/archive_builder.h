// Builds zip archives and pickles byte by byte, so that tests can make any of them wrong.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <zlib.h>

namespace qdqbert::io {

inline std::string little(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

struct ZipOptions {
  bool deflate = false;
  bool zip64 = false;
};

class ZipBuilder {
 public:
  ZipBuilder& add(const std::string& name, const std::string& content, ZipOptions options = {}) {
    std::string packed = content;
    if (options.deflate) {
      z_stream stream{};
      deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
      packed.assign(deflateBound(&stream, content.size()), '\0');
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
      stream.avail_in = static_cast<uInt>(content.size());
      stream.next_out = reinterpret_cast<Bytef*>(packed.data());
      stream.avail_out = static_cast<uInt>(packed.size());
      ::deflate(&stream, Z_FINISH);
      packed.resize(stream.total_out);
      deflateEnd(&stream);
    }
    const auto crc =
        crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size()));
    return add_raw(name, packed, content.size(), static_cast<uint32_t>(crc), options);
  }

  ZipBuilder& add_raw(const std::string& name, const std::string& packed, uint64_t size, uint32_t crc,
                      ZipOptions options) {
    const std::string method = little(options.deflate ? 8 : 0, 2);
    const uint64_t at = bytes_.size();
    const std::string sizes = options.zip64 ? little(0xffffffff, 4) + little(0xffffffff, 4)
                                            : little(packed.size(), 4) + little(size, 4);
    const std::string extra = options.zip64 ? little(1, 2) + little(24, 2) + little(size, 8) +
                                                  little(packed.size(), 8) + little(at, 8)
                                            : "";
    bytes_ += "PK\x03\x04" + little(20, 2) + little(0, 2) + method + little(0, 4) + little(crc, 4) + sizes +
              little(name.size(), 2) + little(0, 2) + name + packed;
    directory_ += "PK\x01\x02" + little(20, 2) + little(20, 2) + little(0, 2) + method + little(0, 4) +
                  little(crc, 4) + sizes + little(name.size(), 2) + little(extra.size(), 2) + little(0, 2) +
                  little(0, 2) + little(0, 2) + little(0, 4) + little(options.zip64 ? 0xffffffff : at, 4) +
                  name + extra;
    ++entries_;
    return *this;
  }

  std::string finish(bool zip64 = false) const {
    std::string out = bytes_ + directory_;
    if (zip64) {
      const uint64_t at = out.size();
      out += "PK\x06\x06" + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 4) + little(0, 4) +
             little(entries_, 8) + little(entries_, 8) + little(directory_.size(), 8) +
             little(bytes_.size(), 8);
      out += "PK\x06\x07" + little(0, 4) + little(at, 8) + little(1, 4);
    }
    out += "PK\x05\x06" + little(0, 4) + little(zip64 ? 0xffff : entries_, 2) +
           little(zip64 ? 0xffff : entries_, 2) + little(zip64 ? 0xffffffff : directory_.size(), 4) +
           little(zip64 ? 0xffffffff : bytes_.size(), 4) + little(0, 2);
    return out;
  }

 private:
  std::string bytes_, directory_;
  uint64_t entries_ = 0;
};

/// Pickle pieces of a dictionary of tensors, protocol 2.
inline std::string pickle_text(std::string_view text) {
  return "X" + little(text.size(), 4) + std::string(text);
}
inline std::string pickle_integer(int64_t value) {
  return "\x8a\x08" + little(static_cast<uint64_t>(value), 8);
}
inline std::string pickle_tuple(std::span<const int64_t> values) {
  std::string out = "(";
  for (const int64_t value : values) out += pickle_integer(value);
  return out + "t";
}

struct TensorPiece {
  std::string name = "";
  std::string type = "FloatStorage";
  std::string key = "0";
  int64_t numel = 0;
  int64_t offset = 0;
  std::vector<int64_t> shape = {}, strides = {};
  bool parameter = false;
};

inline std::string pickle_tensor(const TensorPiece& t) {
  const std::string hooks = "ccollections\nOrderedDict\n)R";
  const std::string tensor = "ctorch._utils\n_rebuild_tensor_v2\n((" + pickle_text("storage") + "ctorch\n" +
                             t.type + "\n" + pickle_text(t.key) + pickle_text("cpu") +
                             pickle_integer(t.numel) + "tQ" + pickle_integer(t.offset) +
                             pickle_tuple(t.shape) + pickle_tuple(t.strides) + "\x89" + hooks + "tR";
  if (!t.parameter) return tensor;
  return "ctorch._utils\n_rebuild_parameter\n(" + tensor + "\x88" + hooks + "tR";
}

inline std::string pickle_state_dict(const std::vector<TensorPiece>& tensors) {
  std::string out = "\x80\x02}(";
  for (const TensorPiece& t : tensors) out += pickle_text(t.name) + pickle_tensor(t);
  return out + "u.";
}

/// pytorch_model.bin of one pickle and its storages, data/<key>.
inline std::string torch_file(const std::string& pickle,
                              const std::vector<std::pair<std::string, std::string>>& storages,
                              ZipOptions options = {}) {
  ZipBuilder zip;
  zip.add("archive/data.pkl", pickle, options);
  for (const auto& [key, bytes] : storages) zip.add("archive/data/" + key, bytes, options);
  zip.add("archive/version", "3\n", options);
  return zip.finish(options.zip64);
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace qdqbert::io
