// What a session promises beyond the values of its outputs: the same bits
// everywhere, clear errors, shared use.
#include "qdqbert/engine/session.h"

#include <cstring>
#include <filesystem>
#include <numeric>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"

#include "tests/engine/machine_isas.h"
#include "tests/engine/texts.h"
#include "tests/support/golden.h"

namespace qdqbert::engine {
namespace {

namespace fs = std::filesystem;
using testing::random_texts;
using testing::same_bits;
using testing::Texts;

/// Every recorded file that is quantized throughout.
std::vector<fs::path> exact_files() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(testing::golden_dir() / "onnx")) {
    const fs::path file = entry.path() / "model.onnx";
    if (fs::exists(file) && Session(file).bit_exact()) found.push_back(file);
  }
  return found;
}

const std::vector<uint32_t> kLengths = {11, 1, 29, 16, 17, 3, 32, 24};

TEST(Session, GivesTheSameBitsOnEveryIsaAndThreadCount) {
  const std::vector<fs::path> files = exact_files();
  ASSERT_FALSE(files.empty());
  for (const fs::path& file : files) {
    std::vector<Output> first;
    for (const Isa isa : machine_isas())
      for (const int threads : {1, 2, 3}) {
        SessionOptions options;
        options.isa = isa;
        options.threads = threads;
        options.pin = threads == 3;
        const Session session(file, options);
        EXPECT_EQ(session.isa(), isa);
        const std::vector<Output> outputs = session.run(random_texts(session, kLengths).view());
        if (first.empty()) first = outputs;
        for (size_t o = 0; o < outputs.size(); ++o)
          EXPECT_TRUE(same_bits(outputs[o].values, first[o].values))
              << file << " " << outputs[o].name << " on " << name_of(isa) << " with " << threads
              << " threads";
      }
  }
}

TEST(Session, GivesTheSameBitsAloneAndTogetherPackedAndPadded) {
  for (const fs::path& file : exact_files()) {
    const Session session(file);
    const Texts texts = random_texts(session, kLengths);
    const std::vector<Output> together = session.run(texts.view());

    const size_t count = kLengths.size(), length = *std::max_element(kLengths.begin(), kLengths.end()) + 5;
    const std::vector<Output> padded = session.run(texts.padded(length).view());

    for (size_t b = 0; b < count; ++b) {
      std::vector<uint32_t> offsets;
      const std::vector<Output> alone = session.run(texts.one(b, offsets));
      for (size_t o = 0; o < together.size(); ++o) {
        const bool by_token = together[o].shape[0] == static_cast<int64_t>(texts.ids.size());
        const size_t rows = by_token ? kLengths[b] : 1;
        const size_t columns = alone[o].values.size() / rows;
        const size_t packed_row = by_token ? texts.offsets[b] : b, padded_row = by_token ? b * length : b;
        EXPECT_TRUE(same_bits(alone[o].values,
                              std::span(together[o].values).subspan(packed_row * columns, rows * columns)))
            << file << " text " << b << " " << together[o].name;
        EXPECT_TRUE(same_bits(alone[o].values,
                              std::span(padded[o].values).subspan(padded_row * columns, rows * columns)))
            << file << " text " << b << " padded";
        const size_t end = by_token ? (padded_row + length) * columns : 0;
        for (size_t j = (padded_row + rows) * columns; j < end; ++j)
          ASSERT_EQ(padded[o].values[j], 0.0f) << "padding of text " << b;
      }
    }
  }
}

TEST(Session, IsSharedByManyThreads) {
  const fs::path file = exact_files().front();
  SessionOptions options;
  options.threads = 1;
  options.streams = 2;
  const Session session(file, options);
  const Texts texts = random_texts(session, kLengths);
  const std::vector<Output> expected = session.run(texts.view());
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t i = 0; i < wrong.size(); ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5; ++round)
        for (size_t o = 0; o < expected.size(); ++o)
          if (!same_bits(session.run(texts.view())[o].values, expected[o].values)) ++wrong[i];
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::accumulate(wrong.begin(), wrong.end(), 0), 0);
}

TEST(Session, FloatPlansApplyQuantizersInFloat) {
  for (const fs::path& file : exact_files()) {
    const Session integers(file);
    SessionOptions options;
    options.precision = Precision::kFloat32;
    const Session floats(file, options);
    EXPECT_TRUE(floats.packed());
    EXPECT_FALSE(floats.bit_exact());
    const Texts texts = random_texts(integers, kLengths);
    const std::vector<Output> a = integers.run(texts.view()), b = floats.run(texts.view());
    for (size_t o = 0; o < a.size(); ++o) {
      // A value on a rounding tie may take the other code in the other order of summation, which moves a few
      // positions by a step; all others agree to float rounding.
      size_t differing = 0;
      for (size_t j = 0; j < a[o].values.size(); ++j)
        if (std::fabs(a[o].values[j] - b[o].values[j]) > 1e-4f) ++differing;
      EXPECT_LE(differing, a[o].values.size() / 4) << file << " " << a[o].name;
    }
  }
}

/// The message of the InputError that the request ends with.
template <class Request>
std::string refusal(const Session& session, const Request& request) {
  try {
    session.run(request);
  } catch (const InputError& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(Session, RefusesBadRequestsAndStaysUsable) {
  const Session session(exact_files().front());
  const Texts good = random_texts(session, {5, 3});
  const std::vector<Output> before = session.run(good.view());
  const auto has = [](const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos ? ::testing::AssertionSuccess()
                                                : ::testing::AssertionFailure() << text;
  };
  Texts bad = good;
  bad.ids[2] = static_cast<int32_t>(session.vocabulary_size());
  EXPECT_TRUE(has(refusal(session, bad.view()), "input_ids holds"));
  bad.ids[2] = -1;
  EXPECT_TRUE(has(refusal(session, bad.view()), "input_ids holds -1"));
  bad = good;
  bad.types[0] = 100;
  EXPECT_TRUE(has(refusal(session, bad.view()), "token_type_ids holds 100"));
  bad = good;
  bad.offsets = {0, 5, 5, 8};
  EXPECT_TRUE(has(refusal(session, bad.view()), "from token 5 to 5"));
  bad.offsets = {0};
  EXPECT_TRUE(has(refusal(session, bad.view()), "empty"));
  bad.offsets = {0, 9, 8};
  EXPECT_TRUE(has(refusal(session, bad.view()), "token 0 to 9"));
  ASSERT_LT(session.longest_text(), size_t{1} << 16);
  const Texts endless = random_texts(session, {static_cast<uint32_t>(session.longest_text() + 1)});
  EXPECT_TRUE(has(refusal(session, endless.view()), "positions"));

  const std::vector<int64_t> ids(6, 1), half = {1, 1, 1, 1, 2, 0}, none = {1, 1, 1, 0, 0, 0};
  EXPECT_TRUE(has(refusal(session, PaddedBatch<int64_t>{2, 3, ids, half, {}}), "attention_mask holds 2"));
  EXPECT_TRUE(has(refusal(session, PaddedBatch<int64_t>{2, 3, ids, none, {}}), "text 1 has no token"));
  EXPECT_TRUE(has(refusal(session, PaddedBatch<int64_t>{0, 3, {}, {}, {}}), "empty"));
  EXPECT_TRUE(has(refusal(session, PaddedBatch<int64_t>{2, 0, {}, {}, {}}), "length 0"));
  EXPECT_TRUE(
      has(refusal(session, PaddedBatch<int64_t>{2, 4, ids, {}, {}}), "6 values for a batch of 2 x 4"));

  const std::vector<Output> after = session.run(good.view());
  for (size_t o = 0; o < before.size(); ++o) EXPECT_TRUE(same_bits(before[o].values, after[o].values));
}

TEST(Session, UnpackedGraphsGiveTheSameBitsToManyThreads) {
  const fs::path file = exact_files().front();
  SessionOptions options;
  options.general_mask = true;
  options.threads = 1;
  const std::vector<int64_t> ids(4 * 19, 1), mask(4 * 19, 1);
  const PaddedBatch<int64_t> batch{4, 19, ids, mask, {}};
  const std::vector<Output> expected = Session(file, options).run(batch);
  options.threads = 3;
  const Session session(file, options);
  ASSERT_FALSE(session.packed());
  std::vector<std::thread> threads;
  std::vector<int> wrong(3, 0);
  for (size_t i = 0; i < wrong.size(); ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 3; ++round) {
        const std::vector<Output> outputs = session.run(batch);
        for (size_t o = 0; o < expected.size(); ++o)
          if (!same_bits(outputs[o].values, expected[o].values)) ++wrong[i];
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(3, 0));
}

}  // namespace
}  // namespace qdqbert::engine
