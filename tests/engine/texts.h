// Texts for sessions: packed, one of them, padded.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "qdqbert/engine/session.h"

namespace qdqbert::testing {

struct PaddedTexts {
  size_t count, length;
  std::vector<int64_t> ids, mask, types;
  engine::PaddedBatch<int64_t> view() const { return {count, length, ids, mask, types}; }
};

/// Texts of different lengths, ids within the vocabulary.
struct Texts {
  std::vector<int32_t> ids, types;
  std::vector<uint32_t> offsets = {0};
  engine::PackedTexts view() const { return {ids, types, offsets}; }
  engine::PackedTexts one(size_t b, std::vector<uint32_t>& its_offsets) const {
    const uint32_t begin = offsets[b], length = offsets[b + 1] - begin;
    its_offsets = {0, length};
    return {std::span(ids).subspan(begin, length), std::span(types).subspan(begin, length), its_offsets};
  }
  /// `length` is at least that of the longest.
  PaddedTexts padded(size_t length) const {
    const size_t count = offsets.size() - 1, elements = count * length;
    PaddedTexts result{count, length, std::vector<int64_t>(elements), std::vector<int64_t>(elements),
                       std::vector<int64_t>(elements)};
    for (size_t b = 0; b < count; ++b)
      for (size_t t = 0; t < offsets[b + 1] - offsets[b]; ++t) {
        result.ids[b * length + t] = ids[offsets[b] + t];
        result.types[b * length + t] = types[offsets[b] + t];
        result.mask[b * length + t] = 1;
      }
    return result;
  }
};

inline Texts random_texts(const engine::Session& session, const std::vector<uint32_t>& lengths) {
  Texts texts;
  std::mt19937 random(7);
  for (const uint32_t length : lengths) {
    for (uint32_t t = 0; t < length; ++t) {
      texts.ids.push_back(static_cast<int32_t>(random() % session.vocabulary_size()));
      texts.types.push_back(t > length / 2 ? 1 : 0);
    }
    texts.offsets.push_back(texts.offsets.back() + length);
  }
  return texts;
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

}  // namespace qdqbert::testing
