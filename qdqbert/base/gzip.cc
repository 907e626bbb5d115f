#include "qdqbert/base/gzip.h"

#include <algorithm>
#include <memory>

#include <zlib.h>

#include "qdqbert/base/error.h"

namespace qdqbert {

std::string gunzip(std::string_view compressed, std::string_view name, size_t limit) {
  z_stream stream{};
  // 16: gzip wrapper only.
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) fail<Error>("[gzip] zlib cannot start");
  std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  std::string content;
  char block[1 << 16];
  size_t consumed = 0;
  int status = Z_OK;
  while (true) {
    if (stream.avail_in == 0 && consumed < compressed.size()) {
      const size_t take = std::min<size_t>(compressed.size() - consumed, size_t{1} << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data() + consumed));
      stream.avail_in = static_cast<uInt>(take);
      consumed += take;
    }
    stream.next_out = reinterpret_cast<Bytef*>(block);
    stream.avail_out = sizeof(block);
    status = inflate(&stream, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
      fail("[gzip] {} is not valid gzip data: {}", name, stream.msg ? stream.msg : "corrupt");
    const size_t got = sizeof(block) - stream.avail_out;
    if (content.size() + got > limit) fail("[gzip] {} inflates past the limit of {} bytes", name, limit);
    content.append(block, got);
    if (status == Z_STREAM_END) {
      if (stream.avail_in == 0 && consumed == compressed.size()) return content;
      if (inflateReset(&stream) != Z_OK) fail<Error>("[gzip] zlib cannot continue");
    } else if (got == 0 && stream.avail_in == 0 && consumed == compressed.size()) {
      fail("[gzip] {} is truncated after {} inflated bytes", name, content.size());
    }
  }
}

std::string gzip(std::string_view content) {
  z_stream stream{};
  if (deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY) != Z_OK)
    fail<Error>("[gzip] zlib cannot start");
  std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, deflateEnd);
  std::string out(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) fail<Error>("[gzip] compression failed");
  out.resize(stream.total_out);
  return out;
}

}  // namespace qdqbert
