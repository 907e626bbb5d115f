// Attention of one layer on codes: softmax(Q K^T / sqrt(D)) V, per text and head, without padding.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qdqbert/engine/integer/gemm.h"

namespace qdqbert::engine {

/// Tokens [begin, begin + length) of the packed batch belong to one text.
struct Segment {
  size_t begin, length;
};

/// What the queries of one text see: rows of codes, `ld` from one to the next.
struct SeenKeys {
  Codes key, value;  ///< row 0 is the first key
  size_t count = 0;
  const float* floats = nullptr;  ///< keys before quantization, for terms by distance; else null
  size_t ld_floats = 0;
};

/// Terms that depend on the distance of query and key, added to the scores of quantized products: q .
/// e[distance], and of keys k . e[distance].
struct DistanceTerms {
  std::vector<float> table;  ///< [2P - 1] rows of D, packed as columns by pack_f32(); empty: there are none
  size_t positions = 0;      ///< P: row of distance 0 is P - 1
  bool by_key = false;
};

/// One layer's attention: scales of what goes in and comes out.
struct AttentionS8 {
  size_t heads = 0, head_size = 0;
  float query_scale = 0, key_scale = 0, value_scale = 0, probability_scale = 0;
  float score_factor = 1;   ///< usually 1 / sqrt(D)
  float context_scale = 0;  ///< 0: the context is written as floats
  bool causal = false;      ///< the last query sees all keys, each one before it one key less
  DistanceTerms distances;
};

/// Head h is columns [h * D, h * D + D) of each. Query codes are flipped for the GEMM, key and value codes
/// are signed. `segments` and `keys` have one entry a text.
struct AttentionInputs {
  Codes query;
  std::span<const Segment> segments;
  std::span<const SeenKeys> keys;
  const float* query_floats = nullptr;  ///< queries before quantization, for terms by distance
  size_t ld_query_floats = 0;
};

/// Where the context goes: codes, flipped for the next GEMM, or floats.
struct AttentionOutput {
  Codes codes;
  float* floats = nullptr;
  size_t ld = 0;  ///< of floats
};

void attend(Machine& machine, const AttentionS8& attention, const AttentionInputs& inputs,
            const AttentionOutput& output);

/// Bytes of scratch that attend() needs per worker for texts that see up to `keys` tokens.
size_t attention_scratch_bytes(const GemmS8Kernel& kernel, size_t keys, const AttentionS8& attention);

}  // namespace qdqbert::engine
