#include "qdqbert/engine/integer/attention.h"

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
  uint8_t* rows;  ///< [kQueryRows][D] codes or floats, where D is no multiple of the kernels' 16 lanes
};

struct Sizes {
  size_t k_of_keys, panels_of_keys, key_bytes;
  size_t k_of_values, panels_of_values, value_bytes;
  size_t run_keys, run_values;  ///< how much of k is multiplied: what is left out is zeros
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
  s.run_keys = least_k(kernel, head_size);
  s.run_values = least_k(kernel, tokens);
  s.ld_scores = std::max(s.k_of_values, s.panels_of_keys * kernel.columns);
  s.ld_context = s.panels_of_values * kernel.columns;
  s.total = s.key_bytes + s.value_bytes + kQueryRows * s.ld_scores * sizeof(int32_t) + 64 * s.k_of_values +
            2 * kQueryRows * s.ld_context * sizeof(int32_t);
  return s;
}

}  // namespace

size_t attention_scratch_bytes(const GemmS8Kernel& kernel, size_t keys, size_t head_size) {
  return sizes_for(kernel, keys, head_size).total;
}

void attend(Machine& machine, const AttentionS8& attention, const std::vector<Segment>& segments,
            const AttentionInputs& inputs, const AttentionOutput& output) {
  const GemmS8Kernel& kernel = machine.gemm;
  const size_t d = attention.head_size;
  const bool to_codes = attention.context_scale > 0;
  std::vector<float> scale(round_up(d, kernel.columns), attention.probability_scale * attention.value_scale);
  const std::vector<float> bias(scale.size(), 0.0f);
  const std::vector<float> inverse(scale.size(), to_codes ? 1.0f / attention.context_scale : 1.0f);
  const float score_scale = attention.query_scale * attention.key_scale * attention.score_factor;
  const auto write_context = [&](size_t rows, size_t row, size_t head, const Scratch& scratch,
                                 const Sizes& s) {
    RequantizeArgs args{scratch.context,
                        s.ld_context,
                        rows,
                        round_up(d, 16),
                        scale.data(),
                        bias.data(),
                        Activation::kNone,
                        std::numeric_limits<float>::infinity(),
                        to_codes ? inverse.data() : nullptr,
                        nullptr,
                        output.codes.ld,
                        machine.flip(),
                        nullptr,
                        output.ld};
    if (to_codes)
      args.codes = output.codes.data + row * output.codes.ld + head * d;
    else
      args.out = output.floats + row * output.ld + head * d;
    if (args.n == d) return machine.rows.requantize(args);
    // Whole vectors would run into the next head's columns, which another worker may have written.
    args.codes = to_codes ? scratch.rows : nullptr;
    args.out = to_codes ? nullptr : reinterpret_cast<float*>(scratch.rows);
    args.ldcodes = args.ldout = args.n;
    machine.rows.requantize(args);
    for (size_t i = 0; i < rows; ++i) {
      if (to_codes)
        std::memcpy(output.codes.data + (row + i) * output.codes.ld + head * d, args.codes + i * args.n, d);
      else
        std::memcpy(output.floats + (row + i) * output.ld + head * d, args.out + i * args.n,
                    d * sizeof(float));
    }
  };
  machine.pool.run(segments.size() * attention.heads, [&](size_t task, int worker) {
    const Segment segment = segments[task / attention.heads];
    const size_t head = task % attention.heads;
    const size_t tokens = segment.length;
    const Sizes s = sizes_for(kernel, tokens, d);
    auto* base = reinterpret_cast<unsigned char*>(machine.scratch[static_cast<size_t>(worker)].data());
    Scratch scratch;
    scratch.keys = base;
    scratch.values = scratch.keys + s.key_bytes;
    scratch.scores = reinterpret_cast<int32_t*>(scratch.values + s.value_bytes);
    scratch.context = scratch.scores + kQueryRows * s.ld_scores;
    scratch.probabilities = reinterpret_cast<uint8_t*>(scratch.context + kQueryRows * s.ld_context);
    scratch.rows = scratch.probabilities + 64 * s.k_of_values;
    const auto first_of = [&](const Codes& codes) {
      return codes.data + segment.begin * codes.ld + head * d;
    };
    const uint8_t* query = first_of(inputs.query);
    pack_panels(kernel, {reinterpret_cast<const int8_t*>(first_of(inputs.key)), d, tokens, 1, inputs.key.ld},
                scratch.keys);
    pack_panels(kernel,
                {reinterpret_cast<const int8_t*>(first_of(inputs.value)), tokens, d, inputs.value.ld, 1},
                scratch.values);
    const size_t key_panel = panel_bytes(kernel, s.k_of_keys),
                 value_panel = panel_bytes(kernel, s.k_of_values);
    kernel.enter();
    for (size_t m = 0; m < tokens; m += kQueryRows) {
      const size_t now = std::min(kQueryRows, tokens - m);
      for (size_t p = 0; p < s.panels_of_keys; ++p)
        kernel.run(query + m * inputs.query.ld, inputs.query.ld, now, scratch.keys + p * key_panel,
                   s.run_keys, scratch.scores + p * kernel.columns, s.ld_scores);
      machine.rows.softmax({scratch.scores, s.ld_scores, now, tokens, s.run_values, score_scale,
                            1.0f / attention.probability_scale, scratch.probabilities, s.k_of_values,
                            machine.flip(), machine.flip()});
      for (size_t p = 0; p < s.panels_of_values; ++p)
        kernel.run(scratch.probabilities, s.k_of_values, now, scratch.values + p * value_panel, s.run_values,
                   scratch.context + p * kernel.columns, s.ld_context);
      write_context(now, segment.begin + m, head, scratch, s);
    }
    kernel.leave();
  });
}

}  // namespace qdqbert::engine
