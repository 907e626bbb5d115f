#include "qdqbert/engine/encoder/attention.h"

#include <algorithm>
#include <cstring>

namespace qdqbert::engine {

namespace {

/// Query rows per block: 48 rows of 384 scores are 72 KB, a multiple of all kernel heights but AMX (32),
/// whose remainder costs one half-empty tile.
constexpr size_t kQueryRows = 48;

size_t round_up(size_t a, size_t b) {
  return (a + b - 1) / b * b;
}

struct Scratch {
  unsigned char* keys;     ///< packed K^T: k = D, n = tokens
  unsigned char* values;   ///< packed V: k = tokens, n = D
  int32_t* scores;         ///< [kQueryRows][tokens]
  uint8_t* probabilities;  ///< [kQueryRows rounded up][tokens]
  int32_t* context;        ///< [kQueryRows][D]
};

struct Sizes {
  size_t k_of_keys, panels_of_keys, key_bytes;
  size_t k_of_values, panels_of_values, value_bytes;
  size_t ld_scores, ld_context;
  size_t total;
};

Sizes sizes_for(const GemmS8Kernel& kernel, size_t tokens, size_t head_size) {
  Sizes s;
  s.k_of_keys = padded_k(head_size);
  s.panels_of_keys = panel_count(kernel, tokens);
  s.key_bytes = s.panels_of_keys * panel_bytes(kernel, s.k_of_keys);
  s.k_of_values = padded_k(tokens);
  s.panels_of_values = panel_count(kernel, head_size);
  s.value_bytes = s.panels_of_values * panel_bytes(kernel, s.k_of_values);
  s.ld_scores = std::max(s.k_of_values, s.panels_of_keys * kernel.columns);
  s.ld_context = s.panels_of_values * kernel.columns;
  s.total = s.key_bytes + s.value_bytes + kQueryRows * s.ld_scores * sizeof(int32_t) + 64 * s.k_of_values +
            kQueryRows * s.ld_context * sizeof(int32_t);
  return s;
}

}  // namespace

size_t attention_scratch_bytes(const GemmS8Kernel& kernel, size_t keys, size_t head_size) {
  return sizes_for(kernel, keys, head_size).total;
}

void attend(Machine& machine, const QuantizedLayer& layer, const std::vector<Segment>& segments, Codes qkv,
            Codes context) {
  const GemmS8Kernel& kernel = machine.gemm;
  const size_t d = layer.head_size;
  const size_t width = layer.heads * d;
  std::vector<float> scale(round_up(d, kernel.columns), layer.probability_scale * layer.value_scale);
  const std::vector<float> bias(scale.size(), 0.0f);
  const std::vector<float> inverse(scale.size(), 1.0f / layer.context_scale);
  const float score_scale = layer.query_scale * layer.key_scale * layer.score_factor;
  machine.pool.run(segments.size() * layer.heads, [&](size_t task, int worker) {
    const Segment segment = segments[task / layer.heads];
    const size_t head = task % layer.heads;
    const size_t tokens = segment.length;
    const Sizes s = sizes_for(kernel, tokens, d);
    auto* base = reinterpret_cast<unsigned char*>(machine.scratch[static_cast<size_t>(worker)].data());
    Scratch scratch;
    scratch.keys = base;
    scratch.values = scratch.keys + s.key_bytes;
    scratch.scores = reinterpret_cast<int32_t*>(scratch.values + s.value_bytes);
    scratch.context = scratch.scores + kQueryRows * s.ld_scores;
    scratch.probabilities = reinterpret_cast<uint8_t*>(scratch.context + kQueryRows * s.ld_context);
    const uint8_t* first = qkv.data + segment.begin * qkv.ld + head * d;
    pack_panels(kernel, {reinterpret_cast<const int8_t*>(first + width), d, tokens, 1, qkv.ld}, scratch.keys);
    pack_panels(kernel, {reinterpret_cast<const int8_t*>(first + 2 * width), tokens, d, qkv.ld, 1},
                scratch.values);
    const size_t key_panel = panel_bytes(kernel, s.k_of_keys),
                 value_panel = panel_bytes(kernel, s.k_of_values);
    kernel.enter();
    for (size_t m = 0; m < tokens; m += kQueryRows) {
      const size_t now = std::min(kQueryRows, tokens - m);
      for (size_t p = 0; p < s.panels_of_keys; ++p)
        kernel.run(first + m * qkv.ld, qkv.ld, now, scratch.keys + p * key_panel, s.k_of_keys,
                   scratch.scores + p * kernel.columns, s.ld_scores);
      machine.rows.softmax({scratch.scores, s.ld_scores, now, tokens, s.k_of_values, score_scale,
                            1.0f / layer.probability_scale, scratch.probabilities, s.k_of_values,
                            machine.flip(), machine.flip()});
      for (size_t p = 0; p < s.panels_of_values; ++p)
        kernel.run(scratch.probabilities, s.k_of_values, now, scratch.values + p * value_panel, s.k_of_values,
                   scratch.context + p * kernel.columns, s.ld_context);
      machine.rows.requantize({scratch.context, s.ld_context, now, d, scale.data(), bias.data(),
                               Activation::kNone, std::numeric_limits<float>::infinity(), inverse.data(),
                               context.data + (segment.begin + m) * context.ld + head * d, context.ld,
                               machine.flip(), nullptr, 0});
    }
    kernel.leave();
  });
}

}  // namespace qdqbert::engine
