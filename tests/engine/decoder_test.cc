// Causal models in a session: texts that are continued, with the bits of the whole text.
#include <algorithm>
#include <cmath>
#include <random>

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/session.h"
#include "qdqbert/onnx/writer.h"

#include "tests/engine/machine_isas.h"
#include "tests/onnx/random_bert.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::engine {
namespace {

namespace fs = std::filesystem;
using onnx::GraphCache;
using onnx::GraphPositions;
using testing::RandomBert;
using testing::RandomBertOptions;

RandomBertOptions decoder() {
  RandomBertOptions options;
  options.head = onnx::GraphHead::kLanguageModel;
  options.decoder = true;
  return options;
}

fs::path write(const ScratchDirectory& scratch, const RandomBertOptions& options,
               const onnx::BertGraphOptions& graph = {}) {
  const fs::path file = scratch / "model.onnx";
  onnx::write_model(onnx::build_bert_graph(RandomBert(options).source(), graph), file);
  return file;
}

std::vector<int32_t> random_ids(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 100);
  return ids;
}

/// Rows of encoder states for texts that read from them.
struct Sources {
  std::vector<float> rows;
  std::vector<uint32_t> offsets;
  Sources(size_t texts, size_t width, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    offsets.push_back(0);
    for (size_t b = 0; b < texts; ++b) offsets.push_back(offsets.back() + 3 + static_cast<uint32_t>(2 * b));
    rows.resize(offsets.back() * width);
    for (float& value : rows) value = normal(random);
  }
};

std::vector<float> whole(const Session& session, const std::vector<int32_t>& ids,
                         const Sources* sources = nullptr) {
  const std::vector<uint32_t> offsets = {0, static_cast<uint32_t>(ids.size())};
  PackedTexts texts{ids, {}, offsets, 0, {}, {}, {}};
  if (sources) {
    texts.encoder_hidden_states = sources->rows;
    texts.encoder_offsets = sources->offsets;
  }
  return session.run(texts)[0].values;
}

/// Logits of the tokens, given to the session piece by piece.
std::vector<float> in_pieces(const Session& session, const std::vector<int32_t>& ids,
                             std::vector<size_t> pieces, const Sources* sources = nullptr) {
  TextCache cache;
  TextCache* caches[] = {&cache};
  std::vector<float> logits;
  size_t at = 0;
  for (const size_t piece : pieces) {
    const std::vector<uint32_t> offsets = {0, static_cast<uint32_t>(piece)};
    PackedTexts texts{std::span(ids).subspan(at, piece), {}, offsets, 0, {}, {}, {}};
    if (sources) {
      texts.encoder_hidden_states = sources->rows;
      texts.encoder_offsets = sources->offsets;
    }
    const std::vector<Output> outputs = session.run(texts, caches);
    logits.insert(logits.end(), outputs[0].values.begin(), outputs[0].values.end());
    at += piece;
    EXPECT_EQ(cache.tokens(), at);
  }
  return logits;
}

TEST(Decoder, ContinuedTextsHaveTheBitsOfWholeOnes) {
  const ScratchDirectory scratch;
  const std::vector<int32_t> ids = random_ids(60, 1);
  for (const GraphPositions positions : {GraphPositions::kAbsolute, GraphPositions::kRelativeKey,
                                         GraphPositions::kRelativeKeyQuery, GraphPositions::kNone}) {
    SCOPED_TRACE(static_cast<int>(positions));
    RandomBertOptions options = decoder();
    options.position_kind = positions;
    const fs::path file = write(scratch, options);
    SessionOptions plain;
    plain.isa = Isa::kRef;
    plain.threads = 1;
    const std::vector<float> expected = whole(Session(file, plain), ids);
    for (const Isa isa : machine_isas())
      for (const int threads : {1, 3}) {
        SessionOptions session_options;
        session_options.isa = isa;
        session_options.threads = threads;
        const Session session(file, session_options);
        ASSERT_TRUE(session.keeps_cache()) << session.plan()[0].note;
        EXPECT_TRUE(session.bit_exact());
        EXPECT_EQ(whole(session, ids), expected) << name_of(isa);
        EXPECT_EQ(in_pieces(session, ids, {60}), expected) << name_of(isa);
        EXPECT_EQ(in_pieces(session, ids, {7, 1, 1, 1, 50}), expected) << name_of(isa);
        EXPECT_EQ(in_pieces(session, ids, std::vector<size_t>(60, 1)), expected) << name_of(isa);
      }
  }
}

TEST(Decoder, NoTokenSeesALaterOne) {
  const ScratchDirectory scratch;
  const Session session(write(scratch, decoder()));
  std::vector<int32_t> ids = random_ids(50, 2);
  const std::vector<float> before = whole(session, ids);
  ids[30] = (ids[30] + 1) % 100;
  const std::vector<float> after = whole(session, ids);
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + 30 * 100, after.begin()));
  EXPECT_FALSE(std::equal(before.begin() + 30 * 100, before.begin() + 31 * 100, after.begin() + 30 * 100));
}

TEST(Decoder, TextsOfABatchGoOnBesideEachOther) {
  const ScratchDirectory scratch;
  const Session session(write(scratch, decoder()));
  const std::vector<int32_t> first = random_ids(20, 3), second = random_ids(33, 4);
  TextCache a, b;
  const auto run = [&](std::span<const int32_t> x, std::span<const int32_t> y) {
    std::vector<int32_t> ids(x.begin(), x.end());
    ids.insert(ids.end(), y.begin(), y.end());
    const std::vector<uint32_t> offsets = {0, static_cast<uint32_t>(x.size()),
                                           static_cast<uint32_t>(ids.size())};
    TextCache* caches[] = {&a, &b};
    return session.run({ids, {}, offsets, 0, {}, {}, {}}, caches)[0].values;
  };
  run(std::span(first).first(5), std::span(second).first(30));
  // A copy is a text of its own.
  TextCache fork = a;
  const std::vector<float> rest = run(std::span(first).subspan(5), std::span(second).subspan(30));
  const std::vector<float> one = whole(session, first), other = whole(session, second);
  EXPECT_TRUE(std::equal(one.begin() + 5 * 100, one.end(), rest.begin()));
  EXPECT_TRUE(std::equal(other.begin() + 30 * 100, other.end(), rest.begin() + 15 * 100));
  EXPECT_EQ(fork.tokens(), 5u);
  EXPECT_EQ(a.tokens(), 20u);
}

TEST(Decoder, CrossAttentionReadsAnotherText) {
  const ScratchDirectory scratch;
  RandomBertOptions options = decoder();
  options.cross_attention = true;
  const fs::path file = write(scratch, options);
  const std::vector<int32_t> ids = random_ids(24, 5);
  const Sources sources(1, 32, 6), others(1, 32, 7);
  SessionOptions plain;
  plain.isa = Isa::kRef;
  const std::vector<float> expected = whole(Session(file, plain), ids, &sources);
  for (const Isa isa : machine_isas()) {
    SessionOptions session_options;
    session_options.isa = isa;
    const Session session(file, session_options);
    EXPECT_EQ(session.encoder_width(), 32u);
    EXPECT_TRUE(session.bit_exact());
    EXPECT_EQ(whole(session, ids, &sources), expected);
    EXPECT_EQ(in_pieces(session, ids, {10, 1, 13}, &sources), expected);
    EXPECT_NE(whole(session, ids, &others), expected);
    // Padded batches hold the same texts, with rows that a mask takes away between the others.
    std::vector<float> rows;
    std::vector<int64_t> mask;
    for (size_t r = 0; r < 3; ++r) {
      mask.insert(mask.end(), {1, 0});
      rows.insert(rows.end(), sources.rows.begin() + static_cast<std::ptrdiff_t>(r * 32),
                  sources.rows.begin() + static_cast<std::ptrdiff_t>(r * 32 + 32));
      rows.insert(rows.end(), 32, 9.0f);
    }
    const std::vector<int64_t> wide(ids.begin(), ids.end());
    PaddedBatch<int64_t> batch{1, wide.size(), wide, {}, {}, 0, rows, mask, 6};
    EXPECT_EQ(session.run(batch)[0].values, expected);
    EXPECT_THROW(whole(session, ids), InputError);
    mask.assign(6, 0);
    EXPECT_THROW(session.run(batch), InputError);
  }
}

TEST(Decoder, FilesWithAPastRunAsThoseWithout) {
  const ScratchDirectory scratch;
  const std::vector<int32_t> ids = random_ids(21, 8);
  for (const GraphPositions positions :
       {GraphPositions::kAbsolute, GraphPositions::kRelativeKey, GraphPositions::kRelativeKeyQuery}) {
    RandomBertOptions options = decoder();
    options.position_kind = positions;
    const std::vector<float> expected = whole(Session(write(scratch, options)), ids);
    for (const GraphCache cache : {GraphCache::kPresent, GraphCache::kPast}) {
      onnx::BertGraphOptions graph;
      graph.cache = cache;
      const Session session(write(scratch, options, graph));
      EXPECT_EQ(session.output_names(), std::vector<std::string>{"logits"});
      EXPECT_TRUE(session.keeps_cache());
      EXPECT_EQ(in_pieces(session, ids, {20, 1}), expected);
    }
  }
  RandomBertOptions cross = decoder();
  cross.cross_attention = true;
  onnx::BertGraphOptions graph;
  graph.cache = GraphCache::kPast;
  EXPECT_THROW(Session(write(scratch, cross, graph)).run(PaddedBatch<int64_t>{}), InputError);
}

// No kernel takes distances to another text: reference operators do. A table of zeros leaves
// what a model without positions gives.
TEST(Decoder, RelativeCrossAttentionRunsInReferenceOperators) {
  const ScratchDirectory scratch;
  RandomBertOptions options = decoder();
  options.cross_attention = true;
  options.quantized = false;
  const std::vector<int32_t> ids = random_ids(24, 5);
  const std::vector<int64_t> wide(ids.begin(), ids.end()), mask(5, 1);
  const Sources sources(2, 32, 6);
  const PaddedBatch<int64_t> batch{
      1, wide.size(), wide, {}, {}, 0, std::span(sources.rows).first(5 * 32), mask, 5};
  const auto logits = [&](GraphPositions positions, bool zeros) {
    options.position_kind = positions;
    RandomBert bert(options);
    for (auto& [name, tensor] : bert.weights)
      if (zeros && name.find("distance_embedding") != std::string::npos)
        std::fill(tensor.data.begin(), tensor.data.end(), std::byte{0});
    const fs::path file = scratch / "model.onnx";
    onnx::write_model(onnx::build_bert_graph(bert.source()), file);
    return Session(file).run(batch)[0].values;
  };
  const auto largest_difference = [](const std::vector<float>& a, const std::vector<float>& b) {
    float largest = a.size() == b.size() ? 0 : INFINITY;
    for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::fabs(a[i] - b[i]));
    return largest;
  };
  const std::vector<float> none = logits(GraphPositions::kNone, false);
  for (const GraphPositions positions : {GraphPositions::kRelativeKey, GraphPositions::kRelativeKeyQuery}) {
    EXPECT_LE(largest_difference(logits(positions, true), none), 2e-5f);
    EXPECT_GT(largest_difference(logits(positions, false), none), 1e-2f);
  }
}

/// Rows of encoder states are nobody's token: their count is not that of the batch.
TEST(Decoder, OutputsThatAreEncoderStatesRunInReferenceOperators) {
  const ScratchDirectory scratch;
  RandomBertOptions options = decoder();
  options.cross_attention = true;
  onnx::Model model = onnx::build_bert_graph(RandomBert(options).source());
  auto& graph = *model.proto().mutable_graph();
  auto& copy = *graph.add_node();
  copy.set_op_type(std::string("Identity"));
  copy.add_input(std::string("encoder_hidden_states"));
  copy.add_output(std::string("states"));
  graph.add_output()->set_name("states");
  const fs::path file = scratch / "model.onnx";
  onnx::write_model(model, file);
  const Session session(file);
  EXPECT_FALSE(session.packed());
  const std::vector<int64_t> ids = {1, 2, 3}, mask(5, 1);
  const Sources sources(2, 32, 6);
  const auto states = std::span(sources.rows).first(5 * 32);
  const std::vector<Output> outputs =
      session.run(PaddedBatch<int64_t>{1, 3, ids, {}, {}, 0, states, mask, 5});
  EXPECT_EQ(outputs.back().shape, (Shape{1, 5, 32}));
  EXPECT_TRUE(
      std::equal(states.begin(), states.end(), outputs.back().values.begin(), outputs.back().values.end()));
}

TEST(Decoder, LogitsOfWantedTokensAlone) {
  const ScratchDirectory scratch;
  RandomBertOptions options = decoder();
  options.vocabulary = 1500;
  for (const bool causal : {true, false})
    for (const bool quantized : {true, false}) {
      options.decoder = causal;
      options.quantized = quantized;
      const Session session(write(scratch, options));
      const std::vector<int32_t> ids = random_ids(40, 9);
      const std::vector<uint32_t> offsets = {0, 18, 40}, wanted = {0, 17, 18, 39};
      PackedTexts texts{ids, {}, offsets, 0, {}, {}, {}};
      const Output all = session.run(texts)[0];
      EXPECT_EQ(all.shape, (Shape{40, 1500}));
      texts.wanted = wanted;
      const Output some = session.run(texts)[0];
      ASSERT_EQ(some.shape, (Shape{4, 1500}));
      for (size_t r = 0; r < wanted.size() && quantized; ++r)
        EXPECT_TRUE(std::equal(some.values.begin() + static_cast<std::ptrdiff_t>(r * 1500),
                               some.values.begin() + static_cast<std::ptrdiff_t>(r * 1500 + 1500),
                               all.values.begin() + wanted[r] * 1500))
            << wanted[r];
      const std::vector<uint32_t> twice = {3, 3}, beyond = {40};
      texts.wanted = twice;
      EXPECT_THROW(session.run(texts), InputError);
      texts.wanted = beyond;
      EXPECT_THROW(session.run(texts), InputError);
    }
}

TEST(Decoder, WrongCachesAreRefused) {
  const ScratchDirectory scratch;
  const Session causal(write(scratch, decoder()));
  const std::vector<int32_t> ids = {1, 2, 3, 4};
  const std::vector<uint32_t> two = {0, 2, 4}, one = {0, 4};
  TextCache cache;
  TextCache* same[] = {&cache, &cache};
  EXPECT_THROW(causal.run({ids, {}, two, 0, {}, {}, {}}, same), InputError);
  EXPECT_THROW(causal.run({ids, {}, two, 0, {}, {}, {}}, std::span(same).first(1)), InputError);
  EXPECT_EQ(cache.tokens(), 0u);
  for (int i = 0; i < 16; ++i) causal.run({ids, {}, one, 0, {}, {}, {}}, std::span(same).first(1));
  // 64 positions are full.
  EXPECT_THROW(causal.run({ids, {}, one, 0, {}, {}, {}}, std::span(same).first(1)), InputError);
  EXPECT_EQ(cache.tokens(), 64u);
  RandomBertOptions wider = decoder();
  wider.hidden = 48;
  const Session other(write(scratch, wider));
  EXPECT_THROW(other.run({ids, {}, one, 0, {}, {}, {}}, std::span(same).first(1)), InputError);
  RandomBertOptions encoder;
  const Session whole_texts(write(scratch, encoder));
  EXPECT_FALSE(whole_texts.keeps_cache());
  TextCache fresh;
  TextCache* caches[] = {&fresh};
  EXPECT_THROW(whole_texts.run({ids, {}, one, 0, {}, {}, {}}, caches), InputError);
}

}  // namespace
}  // namespace qdqbert::engine
