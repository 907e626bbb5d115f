// The quantized encoder over a packed batch: embeddings, layers, hidden states in float.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qdqbert/engine/encoder/attention.h"
#include "qdqbert/engine/encoder/gemm.h"
#include "qdqbert/engine/encoder/layer.h"

namespace qdqbert::engine {

/// Texts without their padding, one after the other. The spans have one entry per token.
struct PackedBatch {
  std::span<const int32_t> input_ids, token_type_ids, position_ids;
  std::vector<Segment> segments;
  size_t tokens() const { return input_ids.size(); }
};

/// LayerNorm((word + type) + position), quantized once per entry of output_scales.
struct Embeddings {
  const float* word = nullptr;      ///< [V][H]
  const float* type = nullptr;      ///< [token types][H]
  const float* position = nullptr;  ///< [P][H]; null: no absolute positions
  std::vector<float> gamma, beta;
  float epsilon = 0;
  std::vector<float> output_scales;
};

struct QuantizedEncoder {
  size_t hidden = 0, intermediate = 0;
  Embeddings embeddings;
  std::vector<QuantizedLayer> layers;
};

/// Activations of a batch of up to `tokens` tokens; one per request in flight.
class EncoderArena {
 public:
  EncoderArena(const QuantizedEncoder& encoder, const GemmS8Kernel& kernel, size_t tokens);

 private:
  friend void run_encoder(const QuantizedEncoder&, Machine&, EncoderArena&, const PackedBatch&, float*);
  Codes codes(AlignedBuffer<uint8_t>& buffer, size_t columns) const;
  size_t rows_;
  std::vector<AlignedBuffer<uint8_t>> hidden_[2];
  AlignedBuffer<uint8_t> qkv_, context_, up_;
};

/// Prepares `machine.scratch` for texts of up to `longest` tokens.
void reserve_scratch(const QuantizedEncoder& encoder, Machine& machine, size_t longest);

/// hidden_out: [tokens][H] floats of the last layer.
void run_encoder(const QuantizedEncoder& encoder, Machine& machine, EncoderArena& arena,
                 const PackedBatch& batch, float* hidden_out);

}  // namespace qdqbert::engine
