#include "qdqbert/tasks/lm_dataset.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/tasks/counter_random.h"
#include "qdqbert/tasks/records.h"
#include "qdqbert/tasks/tag_features.h"
#include "qdqbert/tasks/text_rows.h"

namespace qdqbert::tasks {

namespace {

/// What the numbers at one place are for.
enum Draw : uint64_t { kChoose, kKind, kReplacement, kOrder, kPair, kOther };

uint64_t place(size_t position, Draw draw) {
  return position * 8 + draw;
}

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string::npos;
}

/// Tokens [begin, end) that are chosen or left together.
struct Unit {
  size_t begin, end;
};

std::vector<Unit> units_of(std::span<const int32_t> ids, const std::vector<uint8_t>& special,
                           const text::Tokenizer& tokenizer, bool whole_word) {
  std::vector<Unit> units;
  for (size_t t = 0; t < ids.size(); ++t) {
    if (special[t]) continue;
    const bool continues = whole_word && !units.empty() && units.back().end == t &&
                           tokenizer.vocabulary().token(ids[t]).starts_with("##");
    if (continues)
      units.back().end = t + 1;
    else
      units.push_back({t, t + 1});
  }
  return units;
}

/// Words in random order until their tokens are enough.
std::vector<Unit> draw_words(std::vector<Unit> words, const MaskingOptions& options, uint64_t epoch,
                             size_t row, size_t tokens) {
  std::vector<uint64_t> keys;
  for (size_t w = 0; w < words.size(); ++w)
    keys.push_back(random_bits(options.seed, epoch, row, place(w, kOrder)));
  std::vector<size_t> order(words.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] < keys[b]; });
  const auto wanted = static_cast<size_t>(
      std::max<int64_t>(1, std::llround(options.probability * static_cast<double>(tokens))));
  std::vector<Unit> chosen;
  size_t count = 0;
  for (const size_t w : order) {
    const size_t length = words[w].end - words[w].begin;
    if (count + length > wanted) continue;
    count += length;
    chosen.push_back(words[w]);
    if (count == wanted) break;
  }
  return chosen;
}

std::vector<Unit> draw_tokens(const std::vector<Unit>& tokens, const MaskingOptions& options, uint64_t epoch,
                              size_t row) {
  std::vector<Unit> chosen;
  for (const Unit& unit : tokens)
    if (random_unit(options.seed, epoch, row, place(unit.begin, kChoose)) < options.probability)
      chosen.push_back(unit);
  return chosen;
}

int64_t pair_label(const RecordFile& file, const Record& record) {
  const std::string label = file.text(record, "label");
  if (label == "0" || label == "next") return 0;
  if (label == "1" || label == "random") return 1;
  fail("[data] {}: the label must be 0 (next) or 1 (random), found \"{}\"", file.where(record),
       label.substr(0, 40));
}

}  // namespace

std::vector<std::string> read_texts(const std::filesystem::path& path, const std::string& column) {
  return read_text_rows(path, column).texts;
}

LmBlocks LmBlocks::build(const std::vector<std::string>& texts, const text::Tokenizer& tokenizer,
                         const LmBlockOptions& options, int threads) {
  constexpr int kLeastLength = 4;
  if (options.max_length < kLeastLength)
    fail("[data] a block of {} tokens is too short; at least {} are needed", options.max_length,
         kLeastLength);
  std::vector<std::string> lines;
  for (const std::string& text : texts)
    if (!is_blank(text)) lines.push_back(text);
  text::EncodeOptions encode;
  if (options.line_by_line) {
    encode.truncation = text::Truncation::kLongestFirst;
    encode.max_length = options.max_length;
  }
  const text::Batch batch = text::encode(tokenizer, lines, {}, encode, threads);
  LmBlocks blocks;
  blocks.rows = TokenRows(tokenizer);
  const auto add = [&](std::span<const int32_t> ids, std::span<const int32_t> special) {
    blocks.rows.add(ids, std::vector<int32_t>(ids.size(), 0));
    blocks.special.emplace_back(special.begin(), special.end());
  };
  if (options.line_by_line) {
    for (const text::Encoding& line : batch.features) add(line.ids, line.special_tokens_mask);
    return blocks;
  }
  std::vector<int32_t> ids, special;
  for (const text::Encoding& line : batch.features) {
    ids.insert(ids.end(), line.ids.begin(), line.ids.end());
    special.insert(special.end(), line.special_tokens_mask.begin(), line.special_tokens_mask.end());
  }
  const auto length = static_cast<size_t>(options.max_length);
  const std::span<const int32_t> all(ids), marks(special);
  if (all.size() < length) add(all, marks);
  for (size_t begin = 0; begin + length <= all.size(); begin += length)
    add(all.subspan(begin, length), marks.subspan(begin, length));
  return blocks;
}

void LmBlocks::truncate(size_t count) {
  rows.truncate(count);
  special.resize(rows.size());
}

MaskedRow mask_row(const LmBlocks& blocks, size_t row, uint64_t epoch, const text::Tokenizer& tokenizer,
                   const MaskingOptions& options) {
  constexpr double kMask = 0.8, kRandom = 0.1;
  const std::span<const int32_t> ids = blocks.rows.ids(row);
  MaskedRow out{{ids.begin(), ids.end()}, std::vector<int64_t>(ids.size(), kIgnoredLabel)};
  const std::vector<Unit> units = units_of(ids, blocks.special[row], tokenizer, options.whole_word);
  const std::vector<Unit> chosen = options.whole_word ? draw_words(units, options, epoch, row, ids.size())
                                                      : draw_tokens(units, options, epoch, row);
  for (const Unit& unit : chosen)
    for (size_t t = unit.begin; t < unit.end; ++t) {
      out.labels[t] = ids[t];
      const double kind = random_unit(options.seed, epoch, row, place(t, kKind));
      if (kind < kMask) {
        out.ids[t] = tokenizer.mask_id();
      } else if (kind < kMask + kRandom) {
        out.ids[t] = static_cast<int32_t>(
            random_below(tokenizer.vocabulary().size(), options.seed, epoch, row, place(t, kReplacement)));
      }
    }
  return out;
}

std::vector<SentencePair> make_sentence_pairs(const std::vector<std::string>& lines, uint64_t seed) {
  struct Sentence {
    size_t line, document;
  };
  std::vector<Sentence> sentences;
  size_t document = 0;
  for (size_t l = 0; l < lines.size(); ++l) {
    if (is_blank(lines[l]))
      document += !sentences.empty() && sentences.back().document == document;
    else
      sentences.push_back({l, document});
  }
  std::vector<SentencePair> pairs;
  for (size_t s = 0; s + 1 < sentences.size(); ++s) {
    if (sentences[s + 1].document != sentences[s].document) continue;
    SentencePair pair{lines[sentences[s].line], lines[sentences[s + 1].line], 0};
    if (random_unit(seed, 0, s, kPair) < 0.5) {
      const bool one_document = sentences.front().document == sentences.back().document;
      std::vector<size_t> others;
      // A few draws find another document; the list is made only where one fills nearly all of the file.
      constexpr uint64_t kTries = 16;
      size_t other = s + 1;
      const auto fits = [&](size_t o) {
        return one_document ? o != s && o != s + 1 : sentences[o].document != sentences[s].document;
      };
      for (uint64_t t = 0; t < kTries && !fits(other); ++t)
        other = random_below(sentences.size(), seed, t + 1, s, kOther);
      if (!fits(other)) {
        for (size_t o = 0; o < sentences.size(); ++o)
          if (fits(o)) others.push_back(o);
        if (!others.empty()) other = others[random_below(others.size(), seed, kTries + 1, s, kOther)];
      }
      if (fits(other)) {
        pair.second = lines[sentences[other].line];
        pair.label = 1;
      }
    }
    pairs.push_back(std::move(pair));
  }
  if (pairs.empty())
    fail("[data] no document has two sentences (one a line; empty lines separate documents)");
  return pairs;
}

std::vector<SentencePair> read_sentence_pairs(const std::filesystem::path& path, uint64_t seed,
                                              bool labels_required) {
  if (std::filesystem::path(without_gz(path.string())).extension() == ".txt")
    return make_sentence_pairs(read_texts(path), seed);
  const RecordFile file = read_records(path);
  std::vector<SentencePair> pairs;
  for (const Record& record : file.records) {
    SentencePair pair{file.text(record, "sentence1"), file.text(record, "sentence2"), -1};
    if (labels_required || record.fields.contains("label")) pair.label = pair_label(file, record);
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

}  // namespace qdqbert::tasks
