// Self-attention of one layer on codes: softmax(Q K^T / sqrt(D)) V, per text and head, without padding.
#pragma once

#include <cstdint>
#include <vector>

#include "qdqbert/engine/encoder/gemm.h"

namespace qdqbert::engine {

/// Tokens [begin, begin + length) of the packed batch belong to one text.
struct Segment {
  size_t begin, length;
};

/// qkv holds query codes (flipped for the GEMM) | key codes | value codes (both signed); context receives
/// codes of layer.context_scale, flipped for the next GEMM.
void attend(Machine& machine, const QuantizedLayer& layer, const std::vector<Segment>& segments, Codes qkv,
            Codes context);

/// Bytes of scratch that attend() needs per worker for texts of up to `keys` tokens.
size_t attention_scratch_bytes(const GemmS8Kernel& kernel, size_t keys, size_t head_size);

}  // namespace qdqbert::engine
