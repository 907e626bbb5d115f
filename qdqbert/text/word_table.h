// Whole words of up to 12 bytes and their ids: most words of a text are entries of the vocabulary as they
// are, and one probe finds them. Looking up is in two steps, so that the memory of many words can be on its
// way at once: the table is larger than the first cache.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace qdqbert::text {

class WordTable {
 public:
  static constexpr size_t kLongest = 12;

  /// Longer words are left out. Words must be distinct and not hold zero bytes;
  /// those that come first are found fastest.
  explicit WordTable(const std::vector<std::pair<std::string, int32_t>>& words);

  /// Where the `length` <= kLongest bytes at `word` would be. 16 bytes are read.
  uint32_t slot(const unsigned char* word, size_t length) const { return slot(masked(word, length)); }

  void prefetch(uint32_t slot) const { __builtin_prefetch(&entries_[slot]); }

  /// Id of the word, or -1; `slot` is what slot() gave for it. 16 bytes are read.
  int32_t find(const unsigned char* word, size_t length, uint32_t slot) const {
    const Key key = masked(word, length);
    for (size_t i = slot;; i = (i + 1) & mask_) {
      const Entry& entry = entries_[i];
      if (((entry.low ^ key.low) | (entry.high ^ key.high)) == 0) return entry.id;
      if (entry.id < 0) return -1;
    }
  }

 private:
  struct Key {
    uint64_t low;
    uint32_t high;
  };
  struct alignas(16) Entry {
    uint64_t low = 0;
    uint32_t high = 0;
    int32_t id = -1;  ///< -1: free
  };
  static Key masked(const unsigned char* word, size_t length) {
    // 12 bytes of ones, then 12 of zeros: the mask for a length starts that many bytes before the zeros.
    static constexpr unsigned char kMask[24] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    Key key, mask;
    std::memcpy(&key.low, word, 8);
    std::memcpy(&key.high, word + 8, 4);
    std::memcpy(&mask.low, kMask + kLongest - length, 8);
    std::memcpy(&mask.high, kMask + kLongest - length + 8, 4);
    return {key.low & mask.low, key.high & mask.high};
  }
  /// Multiplicative hashing: the upper bits of a product depend on all bits of the factor.
  uint32_t slot(Key key) const {
    return static_cast<uint32_t>(((key.low * 0x9e3779b97f4a7c15) ^ (key.high * 0xc2b2ae3d27d4eb4f)) >>
                                 shift_);
  }

  std::vector<Entry> entries_;
  size_t mask_ = 0;
  int shift_ = 0;
};

}  // namespace qdqbert::text
