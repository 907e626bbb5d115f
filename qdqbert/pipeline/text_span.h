// A part of a text that somebody gave us.
#pragma once

#include <cstddef>

#include "qdqbert/base/utf8.h"

namespace qdqbert::pipeline {

/// Half-open, in both units: code points, as Python counts, and bytes of the UTF-8 that was given.
struct TextSpan {
  size_t begin = 0, end = 0;            ///< code points
  size_t byte_begin = 0, byte_end = 0;  ///< bytes: text.substr(byte_begin, byte_end - byte_begin)
};

/// `index`: of the text; begin <= end <= index.size().
inline TextSpan text_span(const CodePointIndex& index, size_t begin, size_t end) {
  return {begin, end, index.byte_offset(begin), index.byte_offset(end)};
}

}  // namespace qdqbert::pipeline
