#include "qdqbert/text/encoding.h"

#include <algorithm>

#include "qdqbert/base/error.h"
#include "qdqbert/base/math.h"
#include "qdqbert/base/parallel.h"

namespace qdqbert::text {

namespace {

/// Windows of one sequence of n tokens, `length` each, consecutive ones sharing `stride`. From the left they
/// walk to the end; from the right the first window is the end of the text and they walk to the front.
std::vector<Window> windows_of(size_t n, size_t length, size_t stride, Side side) {
  if (n <= length) return {{0, n}};
  // As the reference has it: a sequence without room gives an empty window,
  // then all of it in one overflow window.
  if (length == 0) return {{0, 0}, {0, n}};
  if (stride >= length)
    fail("[truncation] a stride of {} tokens must be smaller than the window, which has room for {}", stride,
         length);
  std::vector<Window> windows;
  const size_t step = length - stride;
  for (size_t at = 0;; at += step) {
    const size_t end = std::min(n, at + length);
    windows.push_back(side == Side::kRight ? Window{at, end} : Window{n - end, n - at});
    if (end == n) return windows;
  }
}

}  // namespace

std::vector<WindowPair> make_windows(size_t n1, std::optional<size_t> n2, const EncodeOptions& options,
                                     int max_length, Side side) {
  const int added = n2 ? 3 : 2;
  const size_t second = n2.value_or(0);
  if (options.truncation == Truncation::kNone) return {{{0, n1}, {0, second}}};
  if (options.stride < 0) fail("[truncation] the stride is {}, it must not be negative", options.stride);
  if (max_length < 0) fail("[truncation] the maximum length is {}, it must not be negative", max_length);
  if (options.stride > max_length - 2)
    fail("[truncation] a stride of {} tokens does not fit a maximum length of {}", options.stride,
         max_length);
  if (max_length <= added)
    fail("[truncation] a maximum length of {} leaves no room beside the {} special tokens", max_length,
         added);
  const auto room = static_cast<size_t>(max_length - added);
  if (n1 + second <= room) return {{{0, n1}, {0, second}}};
  const size_t excess = n1 + second - room;
  size_t keep1 = n1, keep2 = second;
  const auto shorten = [&](size_t& keep, const char* which) {
    if (keep <= excess)
      fail("[truncation] the {} sequence has {} tokens and would have to lose {} to fit {} in all", which,
           keep, excess, max_length);
    keep -= excess;
  };
  if (options.truncation == Truncation::kOnlyFirst ||
      (options.truncation == Truncation::kLongestFirst && !n2)) {
    shorten(keep1, "first");
  } else if (options.truncation == Truncation::kOnlySecond) {
    if (!n2) fail("[truncation] only_second needs a second sequence");
    shorten(keep2, "second");
  } else {
    const bool swapped = n1 > second;
    size_t shorter = std::min(n1, second), longer;
    longer = shorter > room ? shorter : std::max(shorter, room - shorter);
    if (shorter + longer > room) {
      shorter = room / 2;
      longer = shorter + room % 2;
    }
    keep1 = swapped ? longer : shorter;
    keep2 = swapped ? shorter : longer;
  }
  const auto stride = static_cast<size_t>(options.stride);
  std::vector<Window> firsts = windows_of(n1, keep1, stride, side);
  std::vector<Window> seconds = windows_of(second, keep2, stride, side);
  std::vector<WindowPair> pairs{{firsts[0], seconds[0]}};
  if (!options.return_overflow) return pairs;
  for (size_t i = 1; i < firsts.size(); ++i)
    for (const Window& b : seconds) pairs.push_back({firsts[i], b});
  for (size_t j = 1; j < seconds.size(); ++j) pairs.push_back({firsts[0], seconds[j]});
  return pairs;
}

namespace {

/// A sequence ready to be cut; word_ids empty for whole texts.
struct Sequence {
  Tokens tokens;
  std::vector<int32_t> word_ids;
};

class Builder {
 public:
  explicit Builder(Encoding& out) : out_(out) {}

  void special(int32_t id, int32_t type) { push(id, type, 1, {0, 0}, -1, -1); }

  void reserve(size_t tokens) {
    out_.ids.reserve(tokens);
    out_.type_ids.reserve(tokens);
    out_.attention_mask.reserve(tokens);
    out_.special_tokens_mask.reserve(tokens);
    out_.offsets.reserve(tokens);
    out_.sequence_ids.reserve(tokens);
    out_.word_ids.reserve(tokens);
  }

  void sequence(const Sequence& sequence, Window window, int8_t index) {
    for (size_t t = window.begin; t < window.end; ++t)
      push(sequence.tokens.ids[t], index, 0, sequence.tokens.offsets[t], index,
           sequence.word_ids.empty() ? -1 : sequence.word_ids[t]);
  }

 private:
  void push(int32_t id, int32_t type, int32_t special, Offset offset, int8_t sequence, int32_t word) {
    out_.ids.push_back(id);
    out_.type_ids.push_back(type);
    out_.attention_mask.push_back(1);
    out_.special_tokens_mask.push_back(special);
    out_.offsets.push_back(offset);
    out_.sequence_ids.push_back(sequence);
    out_.word_ids.push_back(word);
  }
  Encoding& out_;
};

std::vector<Encoding> assemble(const Tokenizer& tokenizer, const Sequence& first, const Sequence* second,
                               const EncodeOptions& options, int max_length) {
  std::vector<Encoding> features;
  for (const WindowPair& pair :
       make_windows(first.tokens.size(), second ? std::optional<size_t>(second->tokens.size()) : std::nullopt,
                    options, max_length, tokenizer.options().truncation_side)) {
    Encoding& feature = features.emplace_back();
    Builder builder(feature);
    builder.reserve(pair.first.end - pair.first.begin + pair.second.end - pair.second.begin + 3);
    builder.special(tokenizer.cls_id(), 0);
    builder.sequence(first, pair.first, 0);
    builder.special(tokenizer.sep_id(), 0);
    if (!second) continue;
    builder.sequence(*second, pair.second, 1);
    builder.special(tokenizer.sep_id(), 1);
  }
  return features;
}

template <class T>
void extend(std::vector<T>& v, size_t length, T value, Side side) {
  v.insert(side == Side::kRight ? v.end() : v.begin(), length - v.size(), value);
}

void pad(const Tokenizer& tokenizer, std::vector<Encoding>& features, const EncodeOptions& options,
         int max_length) {
  if (options.padding == Padding::kNone) return;
  size_t length = options.padding == Padding::kMaxLength ? static_cast<size_t>(max_length) : 0;
  if (options.padding == Padding::kLongest)
    for (const Encoding& f : features) length = std::max(length, f.ids.size());
  if (options.pad_to_multiple_of) {
    const auto multiple = static_cast<size_t>(*options.pad_to_multiple_of);
    length = round_up(length, multiple);
  }
  const Side side = tokenizer.options().padding_side;
  for (Encoding& f : features) {
    if (f.ids.size() >= length) continue;
    extend(f.ids, length, tokenizer.pad_id(), side);
    extend<int32_t>(f.type_ids, length, 0, side);
    extend<int32_t>(f.attention_mask, length, 0, side);
    extend<int32_t>(f.special_tokens_mask, length, 1, side);
    extend(f.offsets, length, Offset{0, 0}, side);
    extend<int8_t>(f.sequence_ids, length, -1, side);
    extend<int32_t>(f.word_ids, length, -1, side);
  }
}

int checked_max_length(const Tokenizer& tokenizer, const EncodeOptions& options) {
  const int max_length = options.max_length.value_or(tokenizer.options().model_max_length);
  if (max_length < 0) fail("[encode] the maximum length is {}, it must not be negative", max_length);
  if (options.padding == Padding::kMaxLength && max_length >= kNoMaxLength)
    fail("[padding] padding to the maximum length needs one, and neither the call nor the tokenizer has it");
  const bool truncates = options.truncation != Truncation::kNone;
  if (options.pad_to_multiple_of) {
    const int multiple = *options.pad_to_multiple_of;
    if (multiple < 1) fail("[padding] pad_to_multiple_of is {}, it must be positive", multiple);
    if (truncates && options.padding != Padding::kNone && max_length % multiple != 0)
      fail("[padding] the maximum length {} is not a multiple of {}", max_length, multiple);
  }
  return max_length;
}

Sequence split_sequence(const Tokenizer& tokenizer, const std::vector<std::string>& words) {
  Sequence sequence;
  for (size_t w = 0; w < words.size(); ++w) {
    tokenizer.tokenize(words[w], sequence.tokens);
    sequence.word_ids.resize(sequence.tokens.size(), static_cast<int32_t>(w));
  }
  return sequence;
}

}  // namespace

Batch encode(const Tokenizer& tokenizer, const std::vector<std::string>& first,
             const std::vector<std::string>& second, const EncodeOptions& options, int threads) {
  if (!second.empty() && second.size() != first.size())
    fail("[encode] {} first texts and {} second texts do not pair up", first.size(), second.size());
  const int max_length = checked_max_length(tokenizer, options);
  std::vector<std::vector<Encoding>> per_input(first.size());
  parallel_for(first.size(), 16, threads, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const Sequence a{tokenizer.tokenize(first[i]), {}};
      Sequence b;
      if (!second.empty()) b.tokens = tokenizer.tokenize(second[i]);
      per_input[i] = assemble(tokenizer, a, second.empty() ? nullptr : &b, options, max_length);
      for (Encoding& feature : per_input[i]) feature.word_ids.clear();
    }
  });
  Batch batch;
  for (size_t i = 0; i < per_input.size(); ++i)
    for (Encoding& feature : per_input[i]) {
      batch.features.push_back(std::move(feature));
      batch.sample.push_back(i);
    }
  pad(tokenizer, batch.features, options, max_length);
  for (Encoding& feature : batch.features) feature.word_ids.clear();
  return batch;
}

Batch encode_words(const Tokenizer& tokenizer, const std::vector<std::string>& first,
                   const std::vector<std::string>& second, const EncodeOptions& options) {
  const int max_length = checked_max_length(tokenizer, options);
  const Sequence a = split_sequence(tokenizer, first);
  const Sequence b = split_sequence(tokenizer, second);
  Batch batch;
  batch.features = assemble(tokenizer, a, second.empty() ? nullptr : &b, options, max_length);
  batch.sample.assign(batch.features.size(), 0);
  pad(tokenizer, batch.features, options, max_length);
  return batch;
}

}  // namespace qdqbert::text
