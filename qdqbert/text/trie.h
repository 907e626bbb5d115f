// A byte trie in a double array: one addition and one comparison per byte, which is what makes longest-match
// cheap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace qdqbert::text {

class Trie {
 public:
  static constexpr uint32_t kNowhere = 0;

  /// `keys` must be sorted and distinct, not empty strings, values >= 0.
  explicit Trie(const std::vector<std::pair<std::string, int32_t>>& keys);

  uint32_t root() const { return kRoot; }
  /// The state after `byte`, or kNowhere.
  uint32_t step(uint32_t state, unsigned char byte) const {
    const uint32_t next = nodes_[state].base + byte;
    return nodes_[next].parent == state ? next : kNowhere;
  }
  /// Value of the key that ends here, or -1.
  int32_t value(uint32_t state) const { return nodes_[state].value; }

 private:
  static constexpr uint32_t kRoot = 1;
  struct Node {
    uint32_t base = 0;    ///< children live at base + byte
    uint32_t parent = 0;  ///< 0: free
    int32_t value = -1;
  };
  struct Range {
    uint32_t state;
    size_t begin, end, depth;
  };
  uint32_t find_base(const std::vector<unsigned char>& bytes);
  std::vector<Node> nodes_;
  uint32_t first_free_ = 2;
};

}  // namespace qdqbert::text
