#include "qdqbert/engine/encoder/encoder.h"

#include <algorithm>

namespace qdqbert::engine {

namespace {

size_t round_up(size_t a, size_t b) {
  return (a + b - 1) / b * b;
}

void embed(const QuantizedEncoder& encoder, Machine& machine, const PackedBatch& batch,
           const std::vector<Codes>& outputs) {
  const Embeddings& e = encoder.embeddings;
  const size_t h = encoder.hidden;
  constexpr size_t kTokens = 32;
  machine.pool.run((batch.tokens() + kTokens - 1) / kTokens, [&](size_t task, int worker) {
    const size_t begin = task * kTokens;
    const size_t count = std::min(kTokens, batch.tokens() - begin);
    auto* sum = reinterpret_cast<float*>(machine.scratch[static_cast<size_t>(worker)].data());
    for (size_t t = 0; t < count; ++t) {
      const float* word = e.word + static_cast<size_t>(batch.input_ids[begin + t]) * h;
      const float* type = e.type + static_cast<size_t>(batch.token_type_ids[begin + t]) * h;
      float* row = sum + t * h;
      if (e.position) {
        const float* position = e.position + static_cast<size_t>(batch.position_ids[begin + t]) * h;
        for (size_t j = 0; j < h; ++j) row[j] = (word[j] + type[j]) + position[j];
      } else {
        for (size_t j = 0; j < h; ++j) row[j] = word[j] + type[j];
      }
    }
    CodeOutput to[8];
    for (size_t o = 0; o < outputs.size(); ++o)
      to[o] = {outputs[o].data + begin * outputs[o].ld, outputs[o].ld, 1.0f / e.output_scales[o],
               machine.flip()};
    ResidualLayerNormArgs args{};
    args.rows = count;
    args.n = round_up(h, 16);
    args.n_used = h;
    args.residual = sum;
    args.ldresidual = h;
    args.gamma = e.gamma.data();
    args.beta = e.beta.data();
    args.epsilon = e.epsilon;
    args.row_scratch = sum + kTokens * h;
    args.outputs = to;
    args.output_count = outputs.size();
    machine.rows.residual_layernorm(args);
  });
}

void project(const QuantizedLayer& layer, Machine& machine, const std::vector<Codes>& inputs, size_t rows,
             Codes qkv) {
  const size_t width = layer.heads * layer.head_size;
  for (const Projection& projection : layer.projections) {
    const size_t n = projection.linear.n_padded;
    std::vector<float> inverse(n);
    std::vector<uint8_t> flip(n / machine.gemm.columns);
    for (size_t j = 0; j < n; ++j) {
      const size_t part = (projection.column + j) / width;
      inverse[j] = 1.0f / (part == 0 ? layer.query_scale : part == 1 ? layer.key_scale : layer.value_scale);
      if (j % machine.gemm.columns == 0) flip[j / machine.gemm.columns] = part == 0 ? machine.flip() : 0;
    }
    gemm_requantize(machine, projection.linear, inputs[projection.input], rows,
                    {qkv, projection.column, inverse.data(), flip.data(), Activation::kNone,
                     std::numeric_limits<float>::infinity()});
  }
}

}  // namespace

EncoderArena::EncoderArena(const QuantizedEncoder& encoder, const GemmS8Kernel& kernel, size_t tokens)
    : rows_(round_up(tokens, kernel.row_overread)) {
  size_t copies[2] = {encoder.embeddings.output_scales.size(), 0};
  for (const QuantizedLayer& layer : encoder.layers) {
    copies[0] = std::max(copies[0], layer.output_norm.output_scales.size());
    copies[1] = std::max(copies[1], layer.attention_norm.output_scales.size());
  }
  const size_t h = padded_k(encoder.hidden);
  for (size_t half = 0; half < 2; ++half)
    for (size_t i = 0; i < copies[half]; ++i) hidden_[half].emplace_back(rows_ * h);
  qkv_ = AlignedBuffer<uint8_t>(rows_ * padded_k(3 * encoder.hidden) + kGemmKUnit);
  context_ = AlignedBuffer<uint8_t>(rows_ * h);
  up_ = AlignedBuffer<uint8_t>(rows_ * padded_k(encoder.intermediate));
}

Codes EncoderArena::codes(AlignedBuffer<uint8_t>& buffer, size_t columns) const {
  return {buffer.data(), padded_k(columns)};
}

void reserve_scratch(const QuantizedEncoder& encoder, Machine& machine, size_t longest) {
  size_t values = scratch_size(encoder.hidden);
  for (const QuantizedLayer& layer : encoder.layers)
    values = std::max(values,
                      attention_scratch_bytes(machine.gemm, longest, layer.head_size) / sizeof(int32_t) + 16);
  machine.scratch.resize(static_cast<size_t>(machine.pool.threads()));
  for (auto& scratch : machine.scratch)
    if (scratch.size() < values) scratch = AlignedBuffer<int32_t>(values);
}

void run_encoder(const QuantizedEncoder& encoder, Machine& machine, EncoderArena& arena,
                 const PackedBatch& batch, float* hidden_out) {
  const size_t rows = batch.tokens();
  const auto views = [&](int half, size_t count) {
    std::vector<Codes> out;
    for (size_t i = 0; i < count; ++i) out.push_back(arena.codes(arena.hidden_[half][i], encoder.hidden));
    return out;
  };
  std::vector<Codes> input = views(0, encoder.embeddings.output_scales.size());
  embed(encoder, machine, batch, input);
  const Codes qkv = arena.codes(arena.qkv_, 3 * encoder.hidden);
  const Codes context = arena.codes(arena.context_, encoder.hidden);
  const Codes up = arena.codes(arena.up_, encoder.intermediate);
  for (size_t l = 0; l < encoder.layers.size(); ++l) {
    const QuantizedLayer& layer = encoder.layers[l];
    project(layer, machine, input, rows, qkv);
    const size_t width = layer.heads * layer.head_size;
    attend(machine,
           {layer.heads, layer.head_size, layer.query_scale, layer.key_scale, layer.value_scale,
            layer.probability_scale, layer.score_factor, layer.context_scale},
           batch.segments, {qkv, {qkv.data + width, qkv.ld}, {qkv.data + 2 * width, qkv.ld}},
           {context, nullptr, 0});
    const std::vector<Codes> middle = views(1, layer.attention_norm.output_scales.size());
    gemm_residual_norm(machine, layer.context, context, rows, layer.attention_norm,
                       input[layer.attention_norm.residual], middle, nullptr);
    const std::vector<float> inverse(layer.up.n_padded, 1.0f / layer.down_input_scale);
    const std::vector<uint8_t> flip(layer.up.n_padded / machine.gemm.columns, machine.flip());
    gemm_requantize(machine, layer.up, middle[layer.up_input], rows,
                    {up, 0, inverse.data(), flip.data(), layer.activation, layer.activation_clip});
    const bool last = l + 1 == encoder.layers.size();
    input = views(0, layer.output_norm.output_scales.size());
    gemm_residual_norm(machine, layer.down, up, rows, layer.output_norm, middle[layer.output_norm.residual],
                       input, last ? hidden_out : nullptr);
  }
}

}  // namespace qdqbert::engine
