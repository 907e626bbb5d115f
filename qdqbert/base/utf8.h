// UTF-8 with lengths in Unicode code points, the unit of every offset in this project.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qdqbert {

/// Position of the first byte that is not part of well-formed UTF-8 (overlong
/// forms and surrogates are not), or npos.
size_t find_invalid_utf8(std::string_view text);

/// Decodes well-formed UTF-8; ill-formed bytes become U+FFFD one by one.
std::vector<char32_t> decode_utf8(std::string_view text);
void append_utf8(char32_t code_point, std::string& out);

/// Number of code points of well-formed UTF-8.
size_t count_code_points(std::string_view text);

/// Maps code point indices to byte offsets of one text: offset(i) for i in [0, size()].
/// Constant time; ASCII texts hold no table.
class CodePointIndex {
 public:
  explicit CodePointIndex(std::string_view text);
  size_t size() const { return size_; }
  size_t byte_offset(size_t code_point) const { return table_.empty() ? code_point : table_[code_point]; }
  /// The bytes of code points [begin, end), clamped to the text as Python slices are.
  std::string_view slice(size_t begin, size_t end) const;

 private:
  std::string_view text_;
  size_t size_;
  std::vector<uint32_t> table_;
};

}  // namespace qdqbert
