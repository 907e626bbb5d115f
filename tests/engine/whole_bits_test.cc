// One set of bits for whole models of real size: every ISA of the machine,
// thread count, and company of a text.
#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

#include "qdqbert/engine/session.h"
#include "qdqbert/onnx/writer.h"

#include "tests/engine/machine_isas.h"
#include "tests/engine/texts.h"
#include "tests/onnx/random_bert.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::engine {
namespace {

namespace fs = std::filesystem;
using testing::RandomBert;
using testing::RandomBertOptions;
using testing::same_bits;

// Lengths on both sides of what tiles and blocks are multiples of.
const std::vector<uint32_t> kLengths = {64, 5, 128, 33, 17};

void write(const RandomBertOptions& options, const fs::path& file) {
  const RandomBert model(options);
  onnx::write_model(onnx::build_bert_graph(model.source(), {}), file);
}

/// Outputs of question answering, one row a token: those of text `b` out of all.
std::span<const float> of_text(const Output& output, uint32_t begin, uint32_t length) {
  return std::span(output.values).subspan(begin, length);
}

/// Every way of running the texts against `expected`, the outputs of one packed batch.
void expect_everywhere(const Session& session, const testing::Texts& texts,
                       const std::vector<Output>& expected) {
  const std::vector<Output> packed = session.run(texts.view());
  const size_t length = *std::max_element(kLengths.begin(), kLengths.end()) + 3;
  const std::vector<Output> padded = session.run(texts.padded(length).view());
  for (size_t o = 0; o < expected.size(); ++o) {
    EXPECT_TRUE(same_bits(packed[o].values, expected[o].values)) << expected[o].name << " packed";
    for (size_t b = 0; b < kLengths.size(); ++b) {
      const auto wanted = of_text(expected[o], texts.offsets[b], kLengths[b]);
      EXPECT_TRUE(same_bits(of_text(padded[o], static_cast<uint32_t>(b * length), kLengths[b]), wanted))
          << expected[o].name << " of text " << b << " padded";
    }
  }
  for (size_t b = 0; b < kLengths.size(); ++b) {
    std::vector<uint32_t> offsets;
    const std::vector<Output> alone = session.run(texts.one(b, offsets));
    for (size_t o = 0; o < expected.size(); ++o)
      EXPECT_TRUE(same_bits(alone[o].values, of_text(expected[o], texts.offsets[b], kLengths[b])))
          << expected[o].name << " of text " << b << " alone";
  }
}

void expect_one_set_of_bits(const RandomBertOptions& model, const std::vector<int>& thread_counts) {
  const ScratchDirectory scratch;
  const fs::path file = scratch.path() / "model.onnx";
  write(model, file);
  std::vector<Output> expected;
  for (const Isa isa : machine_isas()) {
    for (const int threads : thread_counts) {
      SCOPED_TRACE(std::string(name_of(isa)) + " with " + std::to_string(threads) + " threads");
      SessionOptions options;
      options.isa = isa;
      options.threads = threads;
      const Session session(file, options);
      ASSERT_EQ(session.isa(), isa);
      ASSERT_TRUE(session.bit_exact());
      const testing::Texts texts = testing::random_texts(session, kLengths);
      if (expected.empty()) expected = session.run(texts.view());
      expect_everywhere(session, texts, expected);
    }
  }
  std::printf("%zu ISAs, %zu thread counts, packed, padded and alone: %zu outputs of %zu tokens each\n",
              machine_isas().size(), thread_counts.size(), expected.size(), expected.at(0).values.size());
}

TEST(WholeModelBits, SizeOfTheShippedModel) {
  expect_one_set_of_bits(
      {.layers = 6, .hidden = 384, .heads = 12, .intermediate = 1536, .vocabulary = 1000, .positions = 128},
      {2});
}

TEST(WholeModelBits, SizeOfBertBase) {
  expect_one_set_of_bits(
      {.layers = 12, .hidden = 768, .heads = 12, .intermediate = 3072, .vocabulary = 1000, .positions = 128},
      {1, 2, 3});
}

}  // namespace
}  // namespace qdqbert::engine
