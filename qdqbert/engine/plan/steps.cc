#include "qdqbert/engine/plan/steps.h"

#include <algorithm>
#include <cstring>

namespace qdqbert::engine {

namespace {

/// Rows of one task where work is light: enough to be worth claiming, few enough for even shares.
constexpr size_t kLightRows = 32;

size_t round_up(size_t a, size_t b) {
  return (a + b - 1) / b * b;
}

/// Calls work(first row, rows, worker) for blocks of rows.
template <class Work>
void for_row_blocks(Execution& execution, RowKind kind, const Work& work) {
  const size_t rows = execution.rows(kind);
  execution.machine.pool.run((rows + kLightRows - 1) / kLightRows, [&](size_t task, int worker) {
    const size_t begin = task * kLightRows;
    work(begin, std::min(kLightRows, rows - begin), worker);
  });
}

/// At most this many quantizers read one LayerNorm: three projections, the next linear, the residual.
constexpr size_t kMostCopies = 8;

void normalize(Execution& execution, const float* in, size_t ld_in, size_t begin, size_t rows, size_t columns,
               const std::vector<float>& gamma, const std::vector<float>& beta, float epsilon,
               const std::vector<CodeCopy>& codes, const std::optional<Stored>& floats, float* row_scratch) {
  CodeOutput to[kMostCopies];
  for (size_t o = 0; o < codes.size(); ++o) {
    const Codes out = execution.codes(codes[o].at);
    to[o] = {out.data + begin * out.ld, out.ld, 1.0f / codes[o].scale, execution.machine.flip()};
  }
  ResidualLayerNormArgs args{};
  args.rows = rows;
  args.n = round_up(columns, 16);
  args.n_used = columns;
  args.residual = in;
  args.ldresidual = ld_in;
  args.gamma = gamma.data();
  args.beta = beta.data();
  args.epsilon = epsilon;
  args.row_scratch = row_scratch;
  if (floats) {
    args.out = execution.floats(*floats) + begin * floats->ld;
    args.ldout = floats->ld;
  }
  args.outputs = to;
  args.output_count = codes.size();
  execution.machine.rows.residual_layernorm(args);
}

}  // namespace

size_t EmbeddingsStep::scratch(size_t) const {
  return (kLightRows + 1) * round_up(hidden, 16);
}

void EmbeddingsStep::run(Execution& execution) const {
  const PackedBatch& batch = execution.batch();
  const size_t ld = round_up(hidden, 16);
  for_row_blocks(execution, RowKind::kTokens, [&](size_t begin, size_t rows, int worker) {
    auto* sum = reinterpret_cast<float*>(execution.machine.scratch[static_cast<size_t>(worker)].data());
    const auto row_of = [&](const float* table, int32_t id) {
      return table + static_cast<size_t>(id) * hidden;
    };
    for (size_t t = 0; t < rows; ++t) {
      float* row = sum + t * ld;
      std::memcpy(row, row_of(words, batch.input_ids[begin + t]), hidden * sizeof(float));
      std::fill(row + hidden, row + ld, 0.0f);
      if (types) {
        const float* type = row_of(types, batch.token_type_ids[begin + t]);
        for (size_t j = 0; j < hidden; ++j) row[j] += type[j];
      }
      if (positions) {
        const float* position = row_of(positions, batch.position_ids[begin + t]);
        for (size_t j = 0; j < hidden; ++j) row[j] += position[j];
      }
    }
    normalize(execution, sum, ld, begin, rows, hidden, gamma, beta, epsilon, codes, floats,
              sum + kLightRows * ld);
  });
}

LinearS8Step::LinearS8Step(PlanStep what, const GemmS8Kernel& kernel, PackedLinear linear,
                           const std::vector<ColumnRange>& ranges)
    : Step(std::move(what)), linear_(std::move(linear)) {
  if (ranges.empty()) return;
  inverse_.assign(linear_.n_padded, 0.0f);
  panel_flip_.assign(linear_.n_padded / kernel.columns, 0);
  for (const ColumnRange& range : ranges) {
    const size_t end = round_up(range.first + range.count, kernel.columns);
    for (size_t j = range.first; j < end; ++j) inverse_[j] = 1.0f / range.scale;
    for (size_t p = range.first / kernel.columns; p < end / kernel.columns; ++p)
      panel_flip_[p] = range.flipped && kernel.unsigned_a ? 0x80 : 0;
  }
}

size_t LinearS8Step::scratch(size_t) const {
  return scratch_size(0);
}

void LinearS8Step::run(Execution& execution) const {
  RequantizeTo to{};
  to.activation = activation;
  to.clip = clip;
  if (inverse_.empty()) {
    to.floats = execution.floats(output);
    to.ld_floats = output.ld;
  } else {
    to.out = execution.codes(output);
    to.inverse = inverse_.data();
    to.panel_flip = panel_flip_.data();
  }
  gemm_requantize(execution.machine, linear_, execution.codes(input), execution.rows(rows), to);
}

size_t LinearNormS8Step::scratch(size_t) const {
  return scratch_size(linear_.n_padded);
}

void LinearNormS8Step::run(Execution& execution) const {
  Residual from;
  if (norm_.residual_scale > 0) {
    from.codes = execution.codes(residual);
  } else {
    from.floats = execution.floats(residual);
    from.ld = residual.ld;
  }
  std::vector<Codes> to;
  for (const Stored& at : codes) to.push_back(execution.codes(at));
  gemm_residual_norm(execution.machine, linear_, execution.codes(input), execution.rows(RowKind::kTokens),
                     norm_, from, to, floats ? execution.floats(*floats) : nullptr, floats ? floats->ld : 0);
}

size_t AttentionS8Step::scratch(size_t longest_text) const {
  return attention_scratch_bytes(kernel_, longest_text, attention_.head_size) / sizeof(int32_t) + 16;
}

void AttentionS8Step::run(Execution& execution) const {
  AttentionOutput to;
  if (attention_.context_scale > 0) {
    to.codes = execution.codes(output);
  } else {
    to.floats = execution.floats(output);
    to.ld = output.ld;
  }
  attend(execution.machine, attention_, execution.batch().segments,
         {execution.codes(query), execution.codes(key), execution.codes(value)}, to);
}

void LinearF32Step::run(Execution& execution) const {
  const size_t ldw = round_up(n, 16);
  const float* in = execution.floats(input);
  float* out = execution.floats(output);
  for_row_blocks(execution, rows, [&](size_t begin, size_t count, int) {
    for (size_t r = begin; r < begin + count; ++r) {
      float* y = out + r * output.ld;
      std::copy(bias.begin(), bias.end(), y);
      for (size_t i = 0; i < k; ++i) {
        const float x = in[r * input.ld + i];
        const float* w = weight.data() + i * ldw;
        for (size_t j = 0; j < ldw; ++j) y[j] += x * w[j];
      }
    }
  });
}

void ActivationStep::run(Execution& execution) const {
  const float* in = execution.floats(input);
  float* out = execution.floats(output);
  for_row_blocks(execution, rows, [&](size_t begin, size_t count, int) {
    for (size_t r = begin; r < begin + count; ++r) {
      float* y = out + r * output.ld;
      execution.machine.rows.activate(activation, in + r * input.ld, columns, y);
      for (size_t j = 0; j < columns; ++j) y[j] = std::min(y[j], clip);
    }
  });
}

size_t NormStep::scratch(size_t) const {
  return round_up(columns, 16);
}

void NormStep::run(Execution& execution) const {
  const float* in = execution.floats(input);
  for_row_blocks(execution, rows, [&](size_t begin, size_t count, int worker) {
    auto* scratch = reinterpret_cast<float*>(execution.machine.scratch[static_cast<size_t>(worker)].data());
    normalize(execution, in + begin * input.ld, input.ld, begin, count, columns, gamma, beta, epsilon, codes,
              floats, scratch);
  });
}

void QuantizeStep::run(Execution& execution) const {
  const float* in = execution.floats(input);
  const Codes out = execution.codes(output);
  const uint8_t flip = flipped ? execution.machine.flip() : 0;
  for_row_blocks(execution, rows, [&](size_t begin, size_t count, int) {
    for (size_t r = begin; r < begin + count; ++r)
      execution.machine.rows.quantize(in + r * input.ld, columns, 1.0f / scale, flip, out.data + r * out.ld);
  });
}

void FirstTokenStep::run(Execution& execution) const {
  const float* in = execution.floats(input);
  float* out = execution.floats(output);
  const std::vector<Segment>& segments = execution.batch().segments;
  for (size_t b = 0; b < segments.size(); ++b)
    std::memcpy(out + b * output.ld, in + segments[b].begin * input.ld, columns * sizeof(float));
}

}  // namespace qdqbert::engine
