#include "qdqbert/text/byte_classes.h"

#include <cstring>

namespace qdqbert::text {

void classify_bytes_ref(const unsigned char* bytes, size_t size, bool lower_case, ByteClasses* out) {
  out->any_other = 0;
  for (size_t i = 0; i <= size / 64 + 1; ++i) out->word[i] = out->space[i] = out->other[i] = 0;
  for (size_t i = 0; i < size; ++i) {
    const unsigned char c = bytes[i];
    const bool upper = c >= 'A' && c <= 'Z';
    const uint64_t bit = uint64_t{1} << (i % 64);
    if (upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      out->word[i / 64] |= bit;
    } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      out->space[i / 64] |= bit;
    } else if (c < 0x20 || c > 0x7e) {
      out->other[i / 64] |= bit;
      out->any_other = 1;
    }
    out->folded[i] = upper && lower_case ? static_cast<unsigned char>(c | 0x20) : c;
  }
  std::memset(out->folded + size, 0, 16);
}

}  // namespace qdqbert::text
