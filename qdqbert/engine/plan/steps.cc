#include "qdqbert/engine/plan/steps.h"

#include <algorithm>
#include <cstring>

#include "qdqbert/engine/float/attention.h"

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

void activate_row(const RowKernels& kernels, Activation activation, float clip, const float* x, size_t n,
                  float* y) {
  kernels.activate(activation, x, n, y);
  if (clip < std::numeric_limits<float>::infinity())
    for (size_t j = 0; j < n; ++j) y[j] = std::min(y[j], clip);
}

/// y may be x.
void fake_quantize_row(const RowKernels& kernels, const float* x, size_t n, float scale, float* y) {
  uint8_t codes[256];
  for (size_t j = 0; j < n; j += sizeof(codes)) {
    const size_t now = std::min(sizeof(codes), n - j);
    kernels.quantize(x + j, now, 1.0f / scale, 0, codes);
    kernels.dequantize(codes, now, scale, 0, y + j);
  }
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

/// Codes behind the last that a kernel may read.
constexpr size_t kCacheSpare = 256;

/// Puts rows [first, first + count) of `from` behind `before` rows of a cache.
template <class T>
T* append_rows(std::vector<T>& cache, size_t before, size_t width, const T* from, size_t ld, size_t first,
               size_t count, size_t spare) {
  cache.resize((before + count) * width + spare);
  for (size_t r = 0; r < count; ++r)
    std::copy_n(from + (first + r) * ld, width, cache.data() + (before + r) * width);
  return cache.data();
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
    if (gamma.empty()) {
      float* out = execution.floats(*floats) + begin * floats->ld;
      for (size_t t = 0; t < rows; ++t) std::copy(sum + t * ld, sum + t * ld + hidden, out + t * floats->ld);
      return;
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

LinearNormS8Step::LinearNormS8Step(PlanStep what, PackedLinear linear, ResidualNorm norm)
    : Step(std::move(what)), linear_(std::move(linear)), norm_(std::move(norm)) {
  if (norm_.local_scale > 0) local_inverse_.assign(linear_.n_padded, 1.0f / norm_.local_scale);
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
                     norm_, from, {local ? execution.codes(*local) : Codes{}, local_inverse_.data()}, to,
                     floats ? execution.floats(*floats) : nullptr, floats ? floats->ld : 0);
}

size_t AttentionS8Step::scratch(size_t longest_text) const {
  return attention_scratch_bytes(kernel_, longest_text, attention_) / sizeof(int32_t) + 16;
}

std::vector<SeenKeys> AttentionS8Step::seen_keys(Execution& execution) const {
  const PackedBatch& batch = execution.batch();
  const Codes keys = execution.codes(key), values = execution.codes(value);
  const float* floats = key_floats ? execution.floats(*key_floats) : nullptr;
  const size_t ld_floats = key_floats ? key_floats->ld : 0;
  std::vector<SeenKeys> seen;
  const bool cached = attention_.causal && !batch.caches.empty();
  for (size_t b = 0; b < batch.segments.size(); ++b) {
    const Segment rows = sources == RowKind::kSources ? batch.sources[b] : batch.segments[b];
    if (!cached) {
      seen.push_back({{keys.data + rows.begin * keys.ld, keys.ld},
                      {values.data + rows.begin * values.ld, values.ld},
                      rows.length,
                      floats ? floats + rows.begin * ld_floats : nullptr,
                      ld_floats});
      continue;
    }
    const size_t before = batch.caches[b]->tokens;
    TextCache::State::Layer& layer = batch.caches[b]->layers[cache_layer];
    SeenKeys all;
    all.key = {
        append_rows(layer.key, before, width, keys.data, keys.ld, rows.begin, rows.length, kCacheSpare),
        width};
    all.value = {
        append_rows(layer.value, before, width, values.data, values.ld, rows.begin, rows.length, kCacheSpare),
        width};
    all.count = before + rows.length;
    if (floats) {
      all.floats =
          append_rows(layer.key_floats, before, width, floats, ld_floats, rows.begin, rows.length, 0);
      all.ld_floats = width;
    }
    seen.push_back(all);
  }
  return seen;
}

void AttentionS8Step::run(Execution& execution) const {
  AttentionOutput to;
  if (attention_.context_scale > 0) {
    to.codes = execution.codes(output);
  } else {
    to.floats = execution.floats(output);
    to.ld = output.ld;
  }
  const std::vector<SeenKeys> seen = seen_keys(execution);
  AttentionInputs from{execution.codes(query), execution.batch().segments, seen, nullptr, 0};
  if (query_floats) {
    from.query_floats = execution.floats(*query_floats);
    from.ld_query_floats = query_floats->ld;
  }
  attend(execution.machine, attention_, from, to);
}

void SourcesStep::run(Execution& execution) const {
  const PackedBatch& batch = execution.batch();
  float* out = execution.floats(output);
  for (size_t r = 0; r < execution.rows(RowKind::kSources); ++r)
    std::copy_n(batch.source_rows.data() + r * columns, columns, out + r * output.ld);
}

void LinearF32Step::run(Execution& execution) const {
  const RowKernels& kernels = execution.machine.rows;
  const bool narrow = narrow_f32(n);
  // A wide matrix is cut into pieces of whole panels, so that a few rows keep all workers busy.
  constexpr size_t kPiece = 256;
  const size_t pieces = narrow ? 1 : (n + kPiece - 1) / kPiece;
  const size_t total = execution.rows(rows), blocks = (total + kLightRows - 1) / kLightRows;
  const float* in = execution.floats(input);
  float* out = execution.floats(output);
  execution.machine.pool.run(blocks * pieces, [&](size_t task, int) {
    const size_t begin = task / pieces * kLightRows, first = task % pieces * kPiece;
    LinearF32Args args{};
    args.a = in + begin * input.ld;
    args.lda = input.ld;
    args.rows = std::min(kLightRows, total - begin);
    args.k = k;
    args.n = std::min(kPiece, n - first);
    args.weight = weight.data() + first * k;
    args.narrow = narrow;
    args.bias = bias.data() + first;
    args.out = out + begin * output.ld + first;
    args.ldout = output.ld;
    kernels.linear_f32(args);
  });
}

void FloatLinearStep::run(Execution& execution) const {
  float* out = execution.floats(output);
  FloatLinear::RowsDone done;
  if (activation != Activation::kNone)
    done = [&](size_t first, size_t count, int) {
      for (size_t r = first; r < first + count; ++r)
        activate_row(execution.machine.rows, activation, clip, out + r * output.ld, linear_.n(),
                     out + r * output.ld);
    };
  linear_.run(execution.machine.pool, execution.floats(input), input.ld, execution.rows(rows), out, output.ld,
              done);
}

void FloatAttentionStep::run(Execution& execution) const {
  const RowKernels& kernels = execution.machine.rows;
  FloatAttention attention{heads, head_size, score_factor, causal, {}, {}};
  if (query_floats && key_floats)
    attention.distances = {distances.data(),
                           (distances.size() / head_size + 1) / 2,
                           by_key,
                           {execution.floats(*query_floats), query_floats->ld},
                           {execution.floats(*key_floats), key_floats->ld}};
  if (probability_scale > 0)
    attention.on_probabilities = [&](float* probabilities, size_t count, size_t keys, size_t ld) {
      for (size_t r = 0; r < count; ++r)
        fake_quantize_row(kernels, probabilities + r * ld, keys, probability_scale, probabilities + r * ld);
    };
  const PackedBatch& batch = execution.batch();
  attend_float(execution.machine.pool, kernels, attention, batch.segments,
               sources == RowKind::kSources ? batch.sources : batch.segments,
               {execution.floats(query), query.ld}, {execution.floats(key), key.ld},
               {execution.floats(value), value.ld}, execution.floats(output), output.ld);
}

void FakeQuantizeStep::run(Execution& execution) const {
  const float* in = execution.floats(input);
  float* out = execution.floats(output);
  for_row_blocks(execution, rows, [&](size_t begin, size_t count, int) {
    for (size_t r = begin; r < begin + count; ++r)
      fake_quantize_row(execution.machine.rows, in + r * input.ld, columns, scale, out + r * output.ld);
  });
}

void ActivationStep::run(Execution& execution) const {
  const float* in = execution.floats(input);
  float* out = execution.floats(output);
  for_row_blocks(execution, rows, [&](size_t begin, size_t count, int) {
    for (size_t r = begin; r < begin + count; ++r)
      activate_row(execution.machine.rows, activation, clip, in + r * input.ld, columns, out + r * output.ld);
  });
}

size_t NormStep::scratch(size_t) const {
  return (kLightRows + 1) * round_up(columns, 16);
}

void NormStep::run(Execution& execution) const {
  const float* in = execution.floats(input);
  const float* other = residual ? execution.floats(*residual) : nullptr;
  const size_t ld = round_up(columns, 16);
  for_row_blocks(execution, rows, [&](size_t begin, size_t count, int worker) {
    auto* scratch = reinterpret_cast<float*>(execution.machine.scratch[static_cast<size_t>(worker)].data());
    const float* from = in + begin * input.ld;
    size_t ld_from = input.ld;
    if (other) {
      float* sums = scratch + ld;
      for (size_t r = 0; r < count; ++r)
        execution.machine.rows.add(from + r * input.ld, other + (begin + r) * residual->ld, columns,
                                   sums + r * ld);
      from = sums;
      ld_from = ld;
    }
    normalize(execution, from, ld_from, begin, count, columns, gamma, beta, epsilon, codes, floats, scratch);
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

void WantedRowsStep::run(Execution& execution) const {
  const float* in = execution.floats(input);
  float* out = execution.floats(output);
  const std::vector<uint32_t>& wanted = execution.batch().wanted;
  for_row_blocks(execution, RowKind::kWanted, [&](size_t begin, size_t count, int) {
    for (size_t r = begin; r < begin + count; ++r)
      std::copy_n(in + (wanted.empty() ? r : wanted[r]) * input.ld, columns, out + r * output.ld);
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
