// Whole words of up to 16 bytes and their ids: most words of a text are entries of the vocabulary as they
// are, and one probe finds them.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace qdqbert::text {

class WordTable {
 public:
  static constexpr size_t kLongest = 16;

  /// Longer words are left out. Words must be distinct and not hold zero bytes.
  explicit WordTable(const std::vector<std::pair<std::string, int32_t>>& words);

  /// Id of the `length` bytes at `word`, or -1; 1 <= length <= kLongest. 16 bytes are read.
  int32_t find(const unsigned char* word, size_t length) const {
    const Key key = masked(word, length);
    for (size_t i = slot(key);; i = (i + 1) & mask_) {
      const Entry& entry = entries_[i];
      if (((entry.key.low ^ key.low) | (entry.key.high ^ key.high)) == 0) return entry.id;
      if (entry.id < 0) return -1;
    }
  }

 private:
  struct Key {
    uint64_t low = 0, high = 0;
  };
  struct alignas(32) Entry {
    Key key;
    int32_t id = -1;  ///< -1: free
  };
  static Key masked(const unsigned char* word, size_t length) {
    // 16 bytes of ones, then 16 of zeros: the mask for a length starts length bytes before the zeros.
    static constexpr unsigned char kMask[32] = {255, 255, 255, 255, 255, 255, 255, 255,
                                                255, 255, 255, 255, 255, 255, 255, 255};
    Key key, mask;
    std::memcpy(&key, word, sizeof(key));
    std::memcpy(&mask, kMask + kLongest - length, sizeof(mask));
    return {key.low & mask.low, key.high & mask.high};
  }
  /// Multiplicative hashing: the upper bits of a product depend on all bits of the factor.
  size_t slot(Key key) const {
    return static_cast<size_t>(((key.low * 0x9e3779b97f4a7c15) ^ (key.high * 0xc2b2ae3d27d4eb4f)) >> shift_);
  }

  std::vector<Entry> entries_;
  size_t mask_ = 0;
  int shift_ = 0;
};

}  // namespace qdqbert::text
