#include "qdqbert/engine/integer/attention.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace qdqbert::engine {

namespace {

/// The most query rows of a block.
constexpr size_t kQueryRows = 48;

/// Query rows per block, a multiple of the kernel's height: 48, or for AMX 32, so that what a block of up to
/// 128 keys touches stays in the first-level cache.
size_t query_rows(const GemmS8Kernel& kernel) {
  return kernel.rows < 32 ? 48 : 32;
}

/// Heads of one task, so that the rows of the next can be fetched meanwhile: as many as leave each worker a
/// few tasks.
size_t heads_together(size_t heads, size_t texts, int threads) {
  return std::clamp<size_t>(heads * texts / (4 * static_cast<size_t>(threads)), 1, heads);
}

/// Rows of softmax between two fetches.
constexpr size_t kSoftmaxRows = 8;

/// Fetches columns [first, first + bytes) of some rows into the second-level cache.
void fetch(const Codes& codes, size_t row, size_t rows, size_t first, size_t bytes) {
  for (size_t r = row; r < row + rows; ++r)
    for (size_t line = 0; line < bytes; line += 64)
      __builtin_prefetch(codes.data + r * codes.ld + first + line, 0, 2);
}

/// Columns of a panel of pack_f32().
constexpr size_t kPanel = 16;

size_t round_up(size_t a, size_t b) {
  return (a + b - 1) / b * b;
}

struct Scratch {
  unsigned char* keys;     ///< packed K^T: k = D, n = tokens
  unsigned char* values;   ///< packed V: k = tokens, n = D
  int32_t* scores;         ///< [kQueryRows][tokens]
  uint8_t* probabilities;  ///< [kQueryRows][tokens]
  int32_t* context;        ///< [kQueryRows][D]
  float* sums;             ///< [kQueryRows][tokens] scores with terms by distance
  float* by_distance;      ///< see distance_floats
  uint8_t* rows;  ///< [kQueryRows][D] codes or floats, where D is no multiple of the kernels' 16 lanes
};

struct Sizes {
  size_t k_of_keys, panels_of_keys, key_bytes;
  size_t k_of_values, panels_of_values, value_bytes;
  size_t run_keys, run_values;  ///< how much of k is multiplied: what is left out is zeros
  size_t ld_scores, ld_context;
  size_t context;  ///< int32 values
  size_t total;
};

/// Keys whose terms by distance are computed together.
constexpr size_t kKeyRows = 16;

/// Floats for the terms of one block: queries times the distances to all keys, or a block of keys times the
/// distances to the queries.
size_t distance_floats(size_t tokens) {
  const size_t by_query = kQueryRows * round_up(tokens + kQueryRows + 2 * kPanel, kPanel);
  return std::max(by_query, kKeyRows * (kQueryRows + kKeyRows + 2 * kPanel));
}

Sizes sizes_for(const GemmS8Kernel& kernel, size_t tokens, const AttentionS8& attention) {
  const size_t head_size = attention.head_size;
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
  s.context = std::max(kQueryRows * s.ld_context, kRequantizeScratch);
  s.total = s.key_bytes + s.value_bytes + kQueryRows * s.ld_scores * sizeof(int32_t) + 64 * s.k_of_values +
            (s.context + kQueryRows * s.ld_context) * sizeof(int32_t);
  if (!attention.distances.table.empty())
    s.total += (kQueryRows * s.ld_scores + distance_floats(tokens)) * sizeof(float);
  return s;
}

/// y[r][c] = x[r] . table column (first + c), for `count` columns from a multiple of the panel's width on.
void rows_by_distance(const RowKernels& kernels, const float* x, size_t ld, size_t rows, size_t d,
                      const std::vector<float>& table, size_t first, size_t count, float* y, size_t ld_y) {
  LinearF32Args args{};
  args.a = x;
  args.lda = ld;
  args.rows = rows;
  args.k = d;
  args.n = count;
  args.weight = table.data() + first * d;
  args.narrow = false;
  args.bias = nullptr;
  args.out = y;
  args.ldout = ld_y;
  kernels.linear_f32(args);
}

/// A block of queries [first, first + rows) of a text, as positions among its keys.
struct QueryBlock {
  const float* floats;
  size_t ld, first, rows;
};

/// Scores as floats: products, then the terms by distance, all times the factor.
void add_distances(const RowKernels& kernels, const AttentionS8& attention, const QueryBlock& queries,
                   const SeenKeys& keys, size_t head, const int32_t* scores, float* sums, size_t ld_scores,
                   float* scratch) {
  const DistanceTerms& terms = attention.distances;
  const size_t d = attention.head_size;
  const float product_scale = attention.query_scale * attention.key_scale;
  // Column of the table for query position i and key j: i - j + P - 1.
  const size_t middle = terms.positions - 1;
  {
    const size_t lowest = queries.first + middle - (keys.count - 1), first = lowest / kPanel * kPanel;
    const size_t count = queries.first + queries.rows - 1 + middle - first + 1;
    const size_t ld = round_up(count, kPanel);
    rows_by_distance(kernels, queries.floats + head * d, queries.ld, queries.rows, d, terms.table, first,
                     count, scratch, ld);
    for (size_t i = 0; i < queries.rows; ++i) {
      const float* row = scratch + i * ld + (queries.first + i + middle - first);
      for (size_t j = 0; j < keys.count; ++j)
        sums[i * ld_scores + j] = static_cast<float>(scores[i * ld_scores + j]) * product_scale +
                                  row[-static_cast<std::ptrdiff_t>(j)];
    }
  }
  for (size_t j0 = 0; terms.by_key && j0 < keys.count; j0 += kKeyRows) {
    const size_t rows = std::min(kKeyRows, keys.count - j0);
    const size_t lowest = queries.first + middle - (j0 + rows - 1), first = lowest / kPanel * kPanel;
    const size_t count = queries.first + queries.rows - 1 + middle - j0 - first + 1;
    const size_t ld = round_up(count, kPanel);
    rows_by_distance(kernels, keys.floats + j0 * keys.ld_floats + head * d, keys.ld_floats, rows, d,
                     terms.table, first, count, scratch, ld);
    for (size_t i = 0; i < queries.rows; ++i)
      for (size_t j = 0; j < rows; ++j)
        sums[i * ld_scores + j0 + j] += scratch[j * ld + (queries.first + i + middle - (j0 + j) - first)];
  }
  for (size_t i = 0; i < queries.rows; ++i)
    for (size_t j = 0; j < keys.count; ++j) sums[i * ld_scores + j] *= attention.score_factor;
}

/// Codes of softmax(row) in the order of rows.h, over `keys` scores; zeros behind, up to `padded`.
void softmax_row(const RowKernels& kernels, float* row, size_t keys, size_t padded, float inverse,
                 uint8_t flip, uint8_t* codes) {
  const float highest = *std::max_element(row, row + keys);
  for (size_t j = 0; j < keys; ++j) row[j] -= highest;
  kernels.exp_nonpositive(row, keys, row);
  std::array<float, 16> lanes{};
  for (size_t j = 0; j < keys; ++j) lanes[j % lanes.size()] += row[j];
  for (size_t half = lanes.size() / 2; half > 0; half /= 2)
    for (size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  kernels.quantize(row, keys, inverse / lanes[0], flip, codes);
  std::fill(codes + keys, codes + padded, flip);
}

}  // namespace

size_t attention_scratch_bytes(const GemmS8Kernel& kernel, size_t keys, const AttentionS8& attention) {
  return sizes_for(kernel, keys, attention).total;
}

void attend(Machine& machine, const AttentionS8& attention, const AttentionInputs& inputs,
            const AttentionOutput& output) {
  const GemmS8Kernel& kernel = machine.gemm;
  const size_t d = attention.head_size;
  const bool to_codes = attention.context_scale > 0;
  std::vector<float> scale(round_up(d, kernel.columns), attention.probability_scale * attention.value_scale);
  const std::vector<float> bias(scale.size(), 0.0f);
  const std::vector<float> inverse_context(scale.size(), to_codes ? 1.0f / attention.context_scale : 1.0f);
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
                        to_codes ? inverse_context.data() : nullptr,
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
  const bool by_distance = !attention.distances.table.empty();
  // A kernel with run_requantize reads A as it is stored and writes whole panels.
  const bool at_once = kernel.run_requantize && to_codes && d % kernel.columns == 0;
  const auto one_head = [&](size_t text, size_t head, bool another, int worker) {
    const Segment segment = inputs.segments[text];
    const SeenKeys& seen = inputs.keys[text];
    const size_t tokens = seen.count;
    const Sizes s = sizes_for(kernel, tokens, attention);
    auto* base = reinterpret_cast<unsigned char*>(machine.scratch[static_cast<size_t>(worker)].data());
    Scratch scratch;
    scratch.keys = base;
    scratch.values = scratch.keys + s.key_bytes;
    scratch.scores = reinterpret_cast<int32_t*>(scratch.values + s.value_bytes);
    scratch.context = scratch.scores + kQueryRows * s.ld_scores;
    scratch.probabilities = reinterpret_cast<uint8_t*>(scratch.context + s.context);
    scratch.rows = scratch.probabilities + 64 * s.k_of_values;
    scratch.sums = reinterpret_cast<float*>(scratch.rows + kQueryRows * s.ld_context * sizeof(int32_t));
    scratch.by_distance = scratch.sums + kQueryRows * s.ld_scores;
    const uint8_t* query = inputs.query.data + segment.begin * inputs.query.ld + head * d;
    const auto head_of = [&](const Codes& codes) {
      return reinterpret_cast<const int8_t*>(codes.data + head * d);
    };
    pack_panels(kernel, {head_of(seen.key), d, tokens, 1, seen.key.ld}, scratch.keys);
    pack_panels(kernel, {head_of(seen.value), tokens, d, seen.value.ld, 1}, scratch.values);
    const size_t key_panel = panel_bytes(kernel, s.k_of_keys),
                 value_panel = panel_bytes(kernel, s.k_of_values);
    // Of a causal text: keys that were there before its first query.
    const size_t before = tokens - std::min(tokens, segment.length);
    const float inverse = 1.0f / attention.probability_scale;
    const size_t block = query_rows(kernel);
    // The rows of the next head, as many at a time as there are rows of softmax before they are needed.
    const Codes queries{inputs.query.data + segment.begin * inputs.query.ld, inputs.query.ld};
    const auto fetch_next = [&](size_t row, size_t rows) {
      if (!another) return;
      fetch(queries, row, rows, (head + 1) * d, d);
      const size_t first = row * tokens / segment.length, last = (row + rows) * tokens / segment.length;
      fetch(seen.key, first, last - first, (head + 1) * d, d);
      fetch(seen.value, first, last - first, (head + 1) * d, d);
    };
    for (size_t m = 0; m < segment.length; m += block) {
      const size_t now = std::min(block, segment.length - m);
      const size_t visible = attention.causal ? before + m + now : tokens;
      for (size_t p = 0; p < panel_count(kernel, visible); ++p)
        kernel.run(query + m * inputs.query.ld, inputs.query.ld, now, scratch.keys + p * key_panel,
                   s.run_keys, scratch.scores + p * kernel.columns, s.ld_scores);
      if (by_distance) {
        SeenKeys within = seen;
        within.count = visible;
        add_distances(machine.rows, attention,
                      {inputs.query_floats + (segment.begin + m) * inputs.ld_query_floats,
                       inputs.ld_query_floats, before + m, now},
                      within, head, scratch.scores, scratch.sums, s.ld_scores, scratch.by_distance);
      }
      SoftmaxArgs softmax{scratch.scores, s.ld_scores,    now,           tokens,
                          s.run_values,   score_scale,    inverse,       scratch.probabilities,
                          s.k_of_values,  machine.flip(), machine.flip()};
      for (size_t i = 0; i < now && !attention.causal && !by_distance; i += kSoftmaxRows) {
        softmax.rows = std::min(kSoftmaxRows, now - i);
        softmax.acc = scratch.scores + i * s.ld_scores;
        softmax.codes = scratch.probabilities + i * s.k_of_values;
        fetch_next(m + i, softmax.rows);
        machine.rows.softmax(softmax);
      }
      for (size_t i = 0; i < now && (attention.causal || by_distance); ++i) {
        softmax.rows = 1;
        softmax.keys = attention.causal ? before + m + i + 1 : tokens;
        softmax.acc = scratch.scores + i * s.ld_scores;
        softmax.codes = scratch.probabilities + i * s.k_of_values;
        if (by_distance)
          softmax_row(machine.rows, scratch.sums + i * s.ld_scores, softmax.keys, softmax.padded, inverse,
                      softmax.flip, softmax.codes);
        else
          machine.rows.softmax(softmax);
      }
      if (at_once) {
        kernel.run_requantize(scratch.probabilities, s.k_of_values, scratch.values, s.run_values,
                              scratch.context, {nullptr, 0},
                              {nullptr, 0, now, d, scale.data(), bias.data(), Activation::kNone,
                               std::numeric_limits<float>::infinity(), inverse_context.data(),
                               output.codes.data + (segment.begin + m) * output.codes.ld + head * d,
                               output.codes.ld, 0, nullptr, 0});
        continue;
      }
      for (size_t p = 0; p < s.panels_of_values; ++p)
        kernel.run(scratch.probabilities, s.k_of_values, now, scratch.values + p * value_panel, s.run_values,
                   scratch.context + p * kernel.columns, s.ld_context);
      write_context(now, segment.begin + m, head, scratch, s);
    }
  };
  const size_t together = heads_together(attention.heads, inputs.segments.size(), machine.pool.threads());
  const size_t groups = (attention.heads + together - 1) / together;
  machine.pool.run(inputs.segments.size() * groups, [&](size_t task, int worker) {
    const size_t first = task % groups * together, last = std::min(attention.heads, first + together);
    kernel.enter();
    for (size_t head = first; head < last; ++head) one_head(task / groups, head, head + 1 < last, worker);
    kernel.leave();
  });
}

}  // namespace qdqbert::engine
