// A byte trie in a double array: one addition and one comparison per byte,
// which is what makes longest-match cheap.
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

  /// `keys` must be sorted and distinct, not empty, without zero bytes; values >= 0.
  /// Throws InputError for more than 2^24 nodes.
  explicit Trie(const std::vector<std::pair<std::string, int32_t>>& keys);

  uint32_t root() const { return kRoot; }
  /// The state after `byte` (not 0), or kNowhere.
  uint32_t step(uint32_t state, unsigned char byte) const {
    const uint32_t next = (nodes_[state].base_and_label >> 8) + byte;
    return (nodes_[next].base_and_label & 255) == byte ? next : kNowhere;
  }
  /// Value of the key that ends here, or -1.
  int32_t value(uint32_t state) const { return nodes_[state].value; }

 private:
  static constexpr uint32_t kRoot = 1;
  /// The child for a byte lives at base + byte and carries the byte as its label. No two states
  /// have the same base, so the label alone tells whose child a node is. Leaves have base 0,
  /// which no other state has; free nodes label 0.
  struct Node {
    uint32_t base_and_label = 0;  ///< base << 8 | label
    int32_t value = -1;
  };
  struct Range {
    uint32_t state;
    size_t begin, end, depth;
  };
  uint32_t find_base(const std::vector<unsigned char>& bytes);
  void make_room(size_t nodes);

  std::vector<Node> nodes_;
  std::vector<bool> is_base_;  ///< while building
  uint32_t first_free_ = 2;
};

}  // namespace qdqbert::text
