#include "qdqbert/engine/encoder/encoder.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "tests/engine/machine_isas.h"

namespace qdqbert::engine {
namespace {

/// A random encoder with ranges that keep the codes busy, packed for one ISA.
struct RandomModel {
  size_t hidden = 96, intermediate = 160, heads = 3, layers = 2, vocabulary = 50, positions = 64;
  std::vector<float> word, type, position;

  QuantizedEncoder build(const GemmS8Kernel& kernel) {
    std::mt19937 random(5);
    std::uniform_int_distribution<int> code(-128, 127);
    std::uniform_real_distribution<float> uniform(-1, 1);
    const auto floats = [&](size_t n, float low, float high) {
      std::vector<float> v(n);
      for (float& x : v) x = low + (high - low) * 0.5f * (uniform(random) + 1);
      return v;
    };
    const auto linear = [&](size_t n, size_t k, float input_scale) {
      std::vector<int8_t> weight(n * k);
      for (auto& w : weight) w = static_cast<int8_t>(code(random));
      return pack_linear(kernel, weight.data(), n, k, input_scale, floats(n, 1e-3f, 2e-3f),
                         floats(n, -0.3f, 0.3f));
    };
    word = floats(vocabulary * hidden, -1, 1);
    type = floats(2 * hidden, -1, 1);
    position = floats(positions * hidden, -1, 1);
    QuantizedEncoder encoder;
    encoder.hidden = hidden;
    encoder.intermediate = intermediate;
    const auto norm = [&](std::vector<float> scales) {
      ResidualNorm n;
      n.local_scale = 0.05f;
      n.residual = scales.size() - 1;
      n.gamma = floats(hidden, 0.5f, 1.5f);
      n.beta = floats(hidden, -0.2f, 0.2f);
      n.epsilon = 1e-12f;
      n.output_scales = scales;
      n.residual_scale = scales.back();
      return n;
    };
    // The first layer reads three different quantizations of its input, the second a single one.
    encoder.embeddings = {word.data(),
                          type.data(),
                          position.data(),
                          floats(hidden, 0.5f, 1.5f),
                          floats(hidden, -0.2f, 0.2f),
                          1e-12f,
                          {0.02f, 0.025f, 0.03f}};
    for (size_t l = 0; l < layers; ++l) {
      QuantizedLayer layer;
      if (l == 0) {
        layer.projections.push_back({linear(2 * hidden, hidden, 0.02f), 0, 0});
        layer.projections.push_back({linear(hidden, hidden, 0.025f), 1, 2 * hidden});
      } else {
        layer.projections.push_back({linear(3 * hidden, hidden, 0.04f), 0, 0});
      }
      layer.heads = heads;
      layer.head_size = hidden / heads;
      layer.query_scale = 0.03f;
      layer.key_scale = 0.02f;
      layer.value_scale = 0.04f;
      layer.probability_scale = 0.9f / 127;
      layer.score_factor = 1 / std::sqrt(32.0f);
      layer.context_scale = 0.01f;
      layer.context = linear(hidden, hidden, 0.01f);
      layer.attention_norm = norm({0.03f});
      layer.attention_norm.residual = l == 0 ? 2 : 0;
      layer.attention_norm.residual_scale = l == 0 ? 0.03f : 0.04f;
      layer.up = linear(intermediate, hidden, 0.03f);
      layer.down_input_scale = 0.02f;
      layer.down = linear(hidden, intermediate, 0.02f);
      layer.output_norm = norm({0.04f});
      layer.output_norm.residual = 0;
      layer.output_norm.residual_scale = 0.03f;
      encoder.layers.push_back(std::move(layer));
    }
    return encoder;
  }
};

struct Texts {
  std::vector<std::vector<int32_t>> ids;
  explicit Texts(std::vector<size_t> lengths) {
    std::mt19937 random(9);
    for (size_t length : lengths) {
      ids.emplace_back(length);
      for (auto& id : ids.back()) id = static_cast<int32_t>(random() % 50);
    }
  }
};

std::vector<std::vector<float>> run(const QuantizedEncoder& encoder, Machine& machine, const Texts& texts) {
  std::vector<int32_t> ids, types, positions;
  PackedBatch batch;
  for (const auto& text : texts.ids) {
    batch.segments.push_back({ids.size(), text.size()});
    for (size_t t = 0; t < text.size(); ++t) {
      ids.push_back(text[t]);
      types.push_back(t > text.size() / 2);
      positions.push_back(static_cast<int32_t>(t));
    }
  }
  batch.input_ids = ids;
  batch.token_type_ids = types;
  batch.position_ids = positions;
  EncoderArena arena(encoder, machine.gemm, ids.size());
  reserve_scratch(encoder, machine, 64);
  std::vector<float> hidden(ids.size() * encoder.hidden);
  run_encoder(encoder, machine, arena, batch, hidden.data());
  std::vector<std::vector<float>> out;
  for (const Segment& s : batch.segments) {
    const auto begin = hidden.begin() + static_cast<std::ptrdiff_t>(s.begin * encoder.hidden);
    out.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(s.length * encoder.hidden));
  }
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(EncoderTest, BitsDoNotDependOnIsaThreadsOrBatch) {
  const Texts texts({1, 5, 33, 48, 49, 64, 17});
  std::vector<std::vector<float>> expected;
  for (const Isa isa : machine_isas()) {
    const GemmS8Kernel& kernel = gemm_s8_for(isa);
    RandomModel model;
    const QuantizedEncoder encoder = model.build(kernel);
    for (const int threads : {1, 2, 3}) {
      SCOPED_TRACE(fmt::format("{} with {} threads", name_of(isa), threads));
      WorkerPool pool(threads);
      Machine machine{kernel, rows_for(isa), pool, {}};
      const auto together = run(encoder, machine, texts);
      if (expected.empty()) expected = together;
      for (size_t i = 0; i < texts.ids.size(); ++i) {
        EXPECT_TRUE(same_bits(together[i], expected[i])) << "text " << i << " in the batch";
        Texts one({});
        one.ids = {texts.ids[i]};
        EXPECT_TRUE(same_bits(run(encoder, machine, one)[0], expected[i])) << "text " << i << " alone";
      }
    }
  }
  double energy = 0;
  for (float v : expected[5]) energy += std::abs(v);
  EXPECT_GT(energy / static_cast<double>(expected[5].size()), 0.1);
}

TEST(WorkerPoolTest, RunsEveryTaskOnceManyTimes) {
  for (const int threads : {1, 2, 3}) {
    WorkerPool pool(threads);
    std::vector<int> hits(37);
    for (int round = 0; round < 2000; ++round) pool.run(hits.size(), [&](size_t i, int) { ++hits[i]; });
    for (int h : hits) ASSERT_EQ(h, 2000);
  }
}

}  // namespace
}  // namespace qdqbert::engine
