// Random arithmetic over the indices of queries and keys, as masks, positions and distances are made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tests/engine/graph_edit.h"

namespace qdqbert::fuzz {

/// Choices taken from bytes; the first of all when they end.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  /// In [0, count).
  unsigned below(int64_t count) { return at_ < size_ ? static_cast<unsigned>(data_[at_++] % count) : 0; }

 private:
  const uint8_t* data_;
  size_t size_, at_ = 0;
};

/// Everything is [S, 1] (queries), [1, S] (keys) or broadcasts with them, unless said.
class IndexExpressions {
 public:
  IndexExpressions(testing::GraphEdit& edit, Bytes& bytes) : edit_(edit), bytes_(bytes) {
    length_ = edit.length();
    const std::string positions = edit.positions();
    query_ = edit.before("Unsqueeze", {positions, edit.integers({1})});
    key_ = edit.before("Unsqueeze", {positions, edit.integers({0})});
  }

  /// [B, 1, S or 1, S] of 0 and a large negative number.
  std::string bias() {
    const std::string wide = edit_.before("Unsqueeze", {"attention_mask", edit_.integers({1, 2})});
    std::string kept = edit_.before("Cast", {wide}, {{"to", {kBool}}});
    if (bytes_.below(4) == 0) {
      const std::string rows = edit_.before("Unsqueeze", {"attention_mask", edit_.integers({1, 3})});
      kept = edit_.before("And", {kept, edit_.before("Cast", {rows}, {{"to", {kBool}}})});
    }
    const unsigned form = bytes_.below(4);
    if (form == 0) {
      // A token that everybody sees, or a count of those that are kept.
      const std::string count =
          edit_.before("ReduceSum", {"attention_mask", edit_.integers({1})}, {{"keepdims", {1}}});
      const std::string many = edit_.before("Greater", {count, limit()});
      kept = edit_.before("Or", {kept, edit_.before("Unsqueeze", {many, edit_.integers({1, 2})})});
    }
    kept = edit_.before(form == 1 ? "Or" : "And", {kept, sight()});
    const float lowest = bytes_.below(2) == 0 ? -1e9f : -3.4028234663852886e38f;
    if (bytes_.below(2) == 0) return edit_.before("Where", {kept, edit_.number(0), edit_.number(lowest)});
    const std::string number = edit_.before("Cast", {kept}, {{"to", {kFloat}}});
    return edit_.before("Mul", {edit_.before("Sub", {edit_.number(1), number}), edit_.number(lowest)});
  }

  /// [1, S] of rows of a table: of positions, or with `zeros` of what begins with 0.
  std::string row(int64_t rows, bool zeros) {
    const std::string nothing = edit_.before("Sub", {key_, key_}), usual = zeros ? nothing : key_;
    if (bytes_.below(4) == 0) return clipped(edit_.before("Add", {integer(2, true), nothing}), rows);
    const std::string end = limit();
    switch (bytes_.below(3)) {
      case 0: {
        const std::string beyond = edit_.before("Max", {edit_.before("Sub", {key_, end}), edit_.integer(0)});
        return clipped(edit_.before("Add", {usual, beyond}), rows);
      }
      case 1:
        return clipped(edit_.before("Min", {usual, end}), rows);
      default: {
        const std::string below = edit_.before("Less", {bytes_.below(2) == 0 ? key_ : length_, end});
        return clipped(
            edit_.before("Add", {edit_.before("Where", {below, usual, integer(1, true)}), nothing}), rows);
      }
    }
  }

  /// [S, S] of rows of a table, often the distances that a model has.
  std::string square(int64_t rows) {
    const std::string middle = edit_.integer(rows / 2);
    std::string distance = edit_.before("Sub", {query_, key_});
    if (bytes_.below(2) == 0) {
      const std::string end = limit();
      distance = edit_.before("Min", {distance, end});
      distance = edit_.before("Max", {distance, edit_.before("Neg", {end})});
    } else {
      distance = edit_.before("Add", {distance, integer(1)});
    }
    return clipped(edit_.before("Add", {distance, middle}), rows);
  }

 private:
  static constexpr int64_t kFloat = 1, kInt64 = 7, kBool = 9;

  std::string small() {
    const int64_t values[] = {0, 1, 2, 4, 6, 7, 8, 10, 16, 33, 60, 64};
    return edit_.integer(values[bytes_.below(12)]);
  }

  /// What short texts do not reach.
  std::string limit() { return edit_.integer(6 + static_cast<int64_t>(bytes_.below(58))); }

  /// Which queries see which keys: in short texts mostly all, or all that are not behind.
  std::string sight() {
    std::string seen = bytes_.below(4) == 0 ? boolean(2) : near();
    if (bytes_.below(2) == 0) {
      const std::string other = bytes_.below(2) == 0 ? near() : boolean(1);
      seen = edit_.before(bytes_.below(2) == 0 ? "And" : "Or", {seen, other});
    }
    if (bytes_.below(3) == 0) seen = edit_.before("And", {seen, edit_.before("LessOrEqual", {key_, query_})});
    return seen;
  }

  /// True for texts that are shorter than some limit.
  std::string near() {
    const std::string end = limit();
    const std::string distance = edit_.before("Sub", {query_, key_});
    switch (bytes_.below(6)) {
      case 0:
        return edit_.before("Less", {edit_.before("Abs", {distance}), end});
      case 1:
        return edit_.before("Less", {distance, end});
      case 2:
        return edit_.before("Less", {bytes_.below(2) == 0 ? key_ : query_, end});
      case 3:
        return edit_.before("Equal", {edit_.before("Div", {query_, end}), edit_.before("Div", {key_, end})});
      case 4:
        return edit_.before("LessOrEqual", {length_, end});
      default:
        return edit_.before("Less", {edit_.before("Mul", {query_, key_}), edit_.before("Mul", {end, end})});
    }
  }

  std::string clipped(const std::string& index, int64_t rows) {
    return edit_.before("Min", {edit_.before("Max", {index, edit_.integer(0)}), edit_.integer(rows - 1)});
  }

  std::string integer(unsigned depth, bool keys_only = false) {
    if (depth == 0 || bytes_.below(3) == 0) {
      switch (bytes_.below(5)) {
        case 0:
          return key_;
        case 1:
          return keys_only ? key_ : query_;
        case 2:
          return keys_only ? key_ : edit_.before("Sub", {query_, key_});
        case 3:
          return length_;
        default:
          return small();
      }
    }
    const std::string a = integer(depth - 1, keys_only);
    switch (bytes_.below(8)) {
      case 0:
        return edit_.before("Add", {a, small()});
      case 1:
        return edit_.before("Sub", {a, integer(depth - 1, keys_only)});
      case 2:
        return edit_.before("Min", {a, small()});
      case 3:
        return edit_.before("Max", {a, small()});
      case 4:
        return edit_.before("Abs", {a});
      case 5:
        return edit_.before("Div", {a, edit_.integer(1 + static_cast<int64_t>(bytes_.below(20)))});
      case 6:
        return edit_.before("Mul", {a, small()});
      default:
        return edit_.before("Max", {edit_.before("Sub", {a, small()}), edit_.integer(0)});
    }
  }

  std::string boolean(unsigned depth, bool keys_only = false) {
    if (depth > 0 && bytes_.below(2) == 0) {
      const std::string a = boolean(depth - 1, keys_only);
      switch (bytes_.below(3)) {
        case 0:
          return edit_.before("And", {a, boolean(depth - 1, keys_only)});
        case 1:
          return edit_.before("Or", {a, boolean(depth - 1, keys_only)});
        default:
          return edit_.before("Not", {a});
      }
    }
    const char* const comparisons[] = {"LessOrEqual", "Less", "GreaterOrEqual", "Greater", "Equal"};
    const std::string a = integer(2, keys_only);
    return edit_.before(comparisons[bytes_.below(5)],
                        {a, bytes_.below(2) == 0 ? small() : integer(1, keys_only)});
  }

  testing::GraphEdit& edit_;
  Bytes& bytes_;
  std::string length_, query_, key_;
};

}  // namespace qdqbert::fuzz
