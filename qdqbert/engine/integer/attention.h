// Self-attention of one layer on codes: softmax(Q K^T / sqrt(D)) V, per text and head, without padding.
#pragma once

#include <cstdint>
#include <vector>

#include "qdqbert/engine/integer/gemm.h"

namespace qdqbert::engine {

/// Tokens [begin, begin + length) of the packed batch belong to one text.
struct Segment {
  size_t begin, length;
};

/// One layer's self-attention: scales of what goes in and comes out.
struct AttentionS8 {
  size_t heads = 0, head_size = 0;
  float query_scale = 0, key_scale = 0, value_scale = 0, probability_scale = 0;
  float score_factor = 1;   ///< usually 1 / sqrt(D)
  float context_scale = 0;  ///< 0: the context is written as floats
};

/// Head h is columns [h * D, h * D + D) of each. Query codes are flipped for the GEMM, key and value codes
/// are signed.
struct AttentionInputs {
  Codes query, key, value;
};

/// Where the context goes: codes, flipped for the next GEMM, or floats.
struct AttentionOutput {
  Codes codes;
  float* floats = nullptr;
  size_t ld = 0;  ///< of floats
};

void attend(Machine& machine, const AttentionS8& attention, const std::vector<Segment>& segments,
            const AttentionInputs& inputs, const AttentionOutput& output);

/// Bytes of scratch that attend() needs per worker for texts of up to `keys` tokens.
size_t attention_scratch_bytes(const GemmS8Kernel& kernel, size_t keys, size_t head_size);

}  // namespace qdqbert::engine
