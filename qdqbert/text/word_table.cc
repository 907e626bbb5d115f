#include "qdqbert/text/word_table.h"

namespace qdqbert::text {

WordTable::WordTable(const std::vector<std::pair<std::string, int32_t>>& words) {
  int bits = 4;
  while ((size_t{3} << bits) < 4 * words.size()) ++bits;
  entries_.resize(size_t{1} << bits);
  mask_ = entries_.size() - 1;
  shift_ = 64 - bits;
  for (const auto& [word, id] : words) {
    if (word.empty() || word.size() > kLongest) continue;
    unsigned char bytes[16] = {};
    std::memcpy(bytes, word.data(), word.size());
    const Key key = masked(bytes, word.size());
    size_t i = slot(key);
    while (entries_[i].id >= 0) i = (i + 1) & mask_;
    entries_[i] = {key.low, key.high, id};
  }
}

}  // namespace qdqbert::text
