#include <cmath>
#include <map>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/tasks/counter_random.h"
#include "qdqbert/tasks/lm_dataset.h"
#include "qdqbert/tasks/text_generation.h"

#include "tests/tasks/letters_tokenizer.h"

namespace qdqbert::tasks {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> many_lines(size_t count) {
  return std::vector<std::string>(count, "the dog runs to a cat . what ?");
}

TEST(LmBlocks, LinesOrBlocks) {
  const text::Tokenizer tokenizer = letters_tokenizer();
  const std::vector<std::string> texts = {"the dog", "", "the dog . ?", "  "};  // 4 and 6 tokens
  LmBlocks blocks = LmBlocks::build(texts, tokenizer, {.max_length = 5, .line_by_line = true});
  ASSERT_EQ(blocks.rows.size(), 2u);
  EXPECT_EQ(blocks.rows.length(0), 4u);
  EXPECT_EQ(blocks.rows.length(1), 5u);
  EXPECT_THAT(blocks.special[0], ElementsAre(1, 0, 0, 1));
  blocks = LmBlocks::build(texts, tokenizer, {.max_length = 4});
  ASSERT_EQ(blocks.rows.size(), 2u) << "ten tokens: two blocks, two tokens are dropped";
  EXPECT_EQ(blocks.rows.ids(1)[0], tokenizer.cls_id());
  blocks = LmBlocks::build(texts, tokenizer, {.max_length = 100});
  ASSERT_EQ(blocks.rows.size(), 1u);
  EXPECT_EQ(blocks.rows.length(0), 10u);
}

TEST(Masking, SharesAreAsStated) {
  const text::Tokenizer tokenizer = letters_tokenizer();
  const LmBlocks blocks = LmBlocks::build(many_lines(2000), tokenizer, {.max_length = 128});
  MaskingOptions options;
  options.seed = 7;
  double tokens = 0, chosen = 0, masked = 0, kept = 0;
  for (size_t row = 0; row < blocks.rows.size(); ++row) {
    const MaskedRow masking = mask_row(blocks, row, 3, tokenizer, options);
    const auto ids = blocks.rows.ids(row);
    for (size_t t = 0; t < ids.size(); ++t) {
      if (blocks.special[row][t]) {
        EXPECT_EQ(masking.labels[t], -100);
      } else {
        ++tokens;
      }
      if (masking.labels[t] == -100) {
        EXPECT_EQ(masking.ids[t], ids[t]);
        continue;
      }
      EXPECT_EQ(masking.labels[t], ids[t]);
      ++chosen;
      masked += masking.ids[t] == tokenizer.mask_id();
      kept += masking.ids[t] == ids[t];
    }
  }
  // Five standard errors of a share p of n: 5 sqrt(p (1 - p) / n).
  const auto within = [](double share, double p, double n) {
    EXPECT_NEAR(share, p, 5 * std::sqrt(p * (1 - p) / n));
  };
  within(chosen / tokens, 0.15, tokens);
  // A random token may be [MASK] or the token itself: one of the vocabulary's in each ten.
  const double same = 0.1 / static_cast<double>(tokenizer.vocabulary().size());
  within(masked / chosen, 0.8 + same, chosen);
  within(kept / chosen, 0.1 + same, chosen);
}

TEST(Masking, DependsOnSeedEpochAndRowOnly) {
  const text::Tokenizer tokenizer = letters_tokenizer();
  const LmBlocks blocks = LmBlocks::build(many_lines(30), tokenizer, {.max_length = 64});
  const auto labels = [&](size_t row, uint64_t epoch, uint64_t seed) {
    return mask_row(blocks, row, epoch, tokenizer, {.seed = seed}).labels;
  };
  EXPECT_EQ(labels(0, 0, 1), labels(0, 0, 1));
  EXPECT_NE(labels(0, 0, 1), labels(0, 1, 1));
  EXPECT_NE(labels(0, 0, 1), labels(0, 0, 2));
  const MaskedRow none = mask_row(blocks, 0, 0, tokenizer, {.probability = 0});
  EXPECT_EQ(std::count(none.labels.begin(), none.labels.end(), -100), 64);
}

TEST(Masking, WholeWordsStayTogether) {
  const text::Tokenizer tokenizer = letters_tokenizer();
  const LmBlocks blocks = LmBlocks::build(many_lines(40), tokenizer, {.max_length = 64});
  for (size_t row = 0; row < blocks.rows.size(); ++row) {
    const MaskedRow masking = mask_row(blocks, row, 0, tokenizer, {.whole_word = true});
    const auto ids = blocks.rows.ids(row);
    int64_t chosen = 0;
    for (size_t t = 0; t < ids.size(); ++t) {
      chosen += masking.labels[t] != -100;
      const bool continues = t > 0 && tokenizer.vocabulary().token(ids[t]).starts_with("##");
      if (continues && !blocks.special[row][t - 1]) {
        EXPECT_EQ(masking.labels[t] == -100, masking.labels[t - 1] == -100) << row << ":" << t;
      }
    }
    EXPECT_EQ(chosen, 10) << "0.15 x 64 rounded; one-letter words fill what is left";
  }
}

TEST(SentencePairs, HalfFollow) {
  std::vector<std::string> lines;
  std::map<std::string, size_t> line_of;
  for (size_t document = 0; document < 100; ++document) {
    for (size_t s = 0; s < 21; ++s) {
      lines.push_back(fmt::format("s{}-{}", document, s));
      line_of[lines.back()] = lines.size() - 1;
    }
    lines.emplace_back();
  }
  const auto pairs = make_sentence_pairs(lines, 11);
  ASSERT_EQ(pairs.size(), 2000u);
  double random = 0;
  for (const SentencePair& pair : pairs) {
    const bool follows = line_of[pair.second] == line_of[pair.first] + 1;
    EXPECT_EQ(follows, pair.label == 0);
    if (pair.label == 1) {
      EXPECT_NE(line_of[pair.first] / 22, line_of[pair.second] / 22);
    }
    random += static_cast<double>(pair.label);
  }
  EXPECT_NEAR(random / 2000, 0.5, 5 * 0.5 / std::sqrt(2000));
  for (const SentencePair& pair : make_sentence_pairs({"a", "b", "c", "d"}, 5))
    EXPECT_EQ(pair.label, !(pair.second[0] == pair.first[0] + 1));
  EXPECT_EQ(make_sentence_pairs({"a", "b"}, 5)[0].label, 0) << "there is no other sentence";
}

TEST(CounterRandom, EvenAndWithoutOrder) {
  std::map<uint64_t, int> counts;
  for (uint64_t i = 0; i < 60000; ++i) ++counts[random_below(6, 1, 0, i, 0)];
  for (const auto& [value, count] : counts)
    EXPECT_NEAR(count, 10000, 5 * std::sqrt(10000 * 5 / 6.0)) << value;
  EXPECT_NE(random_bits(1, 2, 3, 4), random_bits(1, 3, 2, 4));
}

/// A Markov chain over five tokens, as a model with a cache: it remembers each row's text.
class Chain {
 public:
  static constexpr int kTokens = 5;
  NextTokenLogits next() {
    return [this](const GenerationStep& step) -> std::span<const float> {
      std::vector<std::vector<int32_t>> rows;
      if (step.source.empty()) {
        EXPECT_EQ(step.rows, 1u);
        rows = {{step.tokens.begin(), step.tokens.end()}};
      } else {
        EXPECT_EQ(step.tokens.size(), step.rows);
        for (size_t r = 0; r < step.rows; ++r) {
          rows.push_back(rows_.at(step.source[r]));
          rows.back().push_back(step.tokens[r]);
        }
      }
      rows_ = std::move(rows);
      logits_.clear();
      for (const auto& row : rows_)
        for (int t = 0; t < kTokens; ++t) logits_.push_back(logit(row.back(), t));
      return logits_;
    };
  }
  static float logit(int32_t from, int32_t to) {
    return static_cast<float>(3 * random_unit(99, 0, static_cast<uint64_t>(from), static_cast<uint64_t>(to)));
  }
  static double log_probability(int32_t from, int32_t to) {
    double sum = 0;
    for (int t = 0; t < kTokens; ++t) sum += std::exp(static_cast<double>(logit(from, t)));
    return logit(from, to) - std::log(sum);
  }

 private:
  std::vector<std::vector<int32_t>> rows_;
  std::vector<float> logits_;
};

TEST(Generation, GreedyTakesTheBest) {
  const std::vector<int32_t> prompt = {0, 3};
  GenerationOptions options;
  options.max_new_tokens = 6;
  const auto texts = generate(prompt, Chain().next(), options);
  ASSERT_EQ(texts.size(), 1u);
  int32_t from = 3;
  double score = 0;
  for (const int32_t token : texts[0].tokens) {
    for (int32_t t = 0; t < Chain::kTokens; ++t) EXPECT_LE(Chain::logit(from, t), Chain::logit(from, token));
    score += Chain::log_probability(from, token);
    from = token;
  }
  EXPECT_EQ(texts[0].tokens.size(), 6u);
  EXPECT_NEAR(texts[0].score, score, 1e-12);
  options.end_token = texts[0].tokens[2];
  const auto stopped = generate(prompt, Chain().next(), options)[0].tokens;
  EXPECT_EQ(stopped.back(), *options.end_token);
  EXPECT_LE(stopped.size(), 3u);
}

TEST(Generation, WideBeamsFindTheBestOfAllTexts) {
  // 5^3 texts of three tokens: with 25 beams nothing is lost before the last step.
  GenerationOptions options;
  options.max_new_tokens = 3;
  options.beams = 25;
  std::vector<double> scores;
  for (int32_t a = 0; a < 5; ++a)
    for (int32_t b = 0; b < 5; ++b)
      for (int32_t c = 0; c < 5; ++c)
        scores.push_back(
            (Chain::log_probability(2, a) + Chain::log_probability(a, b) + Chain::log_probability(b, c)) / 3);
  std::sort(scores.rbegin(), scores.rend());
  const auto texts = generate(std::vector<int32_t>{2}, Chain().next(), options);
  ASSERT_EQ(texts.size(), 25u);
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_NEAR(texts[i].score, scores[i], 1e-12) << i;
  options.beams = 1;
  EXPECT_LE(generate(std::vector<int32_t>{2}, Chain().next(), options)[0].score / 3, texts[0].score + 1e-12);
}

TEST(Generation, BeamsCompareTextsOfDifferentLength) {
  GenerationOptions options;
  options.max_new_tokens = 3;
  options.beams = 25;
  options.end_token = 4;
  // All texts that end with 4, or have three tokens.
  std::vector<double> scores;
  const std::function<void(int32_t, int, double)> walk = [&](int32_t from, int length, double sum) {
    for (int32_t t = 0; t < 5; ++t) {
      const double score = sum + Chain::log_probability(from, t);
      if (t == 4 || length + 1 == 3)
        scores.push_back(score / (length + 1));
      else
        walk(t, length + 1, score);
    }
  };
  walk(2, 0, 0);
  std::sort(scores.rbegin(), scores.rend());
  const auto texts = generate(std::vector<int32_t>{2}, Chain().next(), options);
  EXPECT_NEAR(texts[0].score, scores[0], 1e-12);
}

TEST(Generation, TextsThatEndLeaveTheirPlaceToOthers) {
  GenerationOptions options;
  options.max_new_tokens = 1;
  options.end_token = generate(std::vector<int32_t>{2}, Chain().next(), options)[0].tokens[0];
  options.max_new_tokens = 4;
  options.beams = 2;
  Chain chain;
  std::vector<size_t> rows;
  const NextTokenLogits next = chain.next();
  generate(
      std::vector<int32_t>{2},
      [&](const GenerationStep& step) {
        rows.push_back(step.rows);
        return next(step);
      },
      options);
  ASSERT_GE(rows.size(), 2u);
  EXPECT_EQ(rows[1], 2u) << "the best first token ends a text; two others go on";
}

TEST(Generation, SamplingFollowsTheProbabilities) {
  GenerationOptions options;
  options.max_new_tokens = 1;
  options.sample = true;
  options.temperature = 0.7;
  options.top_k = 3;
  std::map<int32_t, double> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    options.seed = static_cast<uint64_t>(i);
    ++counts[generate(std::vector<int32_t>{1}, Chain().next(), options)[0].tokens[0]];
  }
  ASSERT_EQ(counts.size(), 3u);
  double sum = 0;
  for (const auto& [token, count] : counts) sum += std::exp(Chain::logit(1, token) / 0.7);
  for (const auto& [token, count] : counts) {
    const double p = std::exp(Chain::logit(1, token) / 0.7) / sum;
    EXPECT_NEAR(count / kDraws, p, 5 * std::sqrt(p * (1 - p) / kDraws)) << token;
  }
  options.top_p = 1e-9;
  EXPECT_EQ(generate(std::vector<int32_t>{1}, Chain().next(), options)[0].tokens,
            generate(std::vector<int32_t>{1}, Chain().next(), {.max_new_tokens = 1})[0].tokens);
}

TEST(Generation, RepetitionIsPenalized) {
  GenerationOptions options;
  options.max_new_tokens = 4;
  options.repetition_penalty = 1e6;
  const auto tokens = generate(std::vector<int32_t>{0}, Chain().next(), options)[0].tokens;
  EXPECT_THAT(tokens, ::testing::UnorderedElementsAre(1, 2, 3, 4)) << "all others come before a repetition";
}

TEST(Generation, ImpossibleOptionsAreRefused) {
  const auto refused = [](auto change) {
    GenerationOptions options;
    change(options);
    EXPECT_THROW(options.validate(), UsageError);
  };
  refused([](auto& o) { o.max_new_tokens = 0; });
  refused([](auto& o) { o.beams = 0; });
  refused([](auto& o) { o.beams = 2, o.sample = true; });
  refused([](auto& o) { o.temperature = 0; });
  refused([](auto& o) { o.top_p = 0; });
  refused([](auto& o) { o.top_p = 1.5; });
  refused([](auto& o) { o.top_k = -1; });
  refused([](auto& o) { o.repetition_penalty = NAN; });
  EXPECT_THROW(generate({}, Chain().next(), {}), InputError);
}

}  // namespace
}  // namespace qdqbert::tasks
