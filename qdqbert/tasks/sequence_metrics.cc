#include "qdqbert/tasks/sequence_metrics.h"

#include <algorithm>
#include <compare>
#include <map>

#include "qdqbert/base/error.h"
#include "qdqbert/base/utf8.h"

namespace qdqbert::tasks {

namespace {

/// One span of a tagged sentence: tags [begin, end).
struct TagSpan {
  std::string type;
  size_t begin = 0, end = 0;
  auto operator<=>(const TagSpan&) const = default;
};

struct Tag {
  char32_t prefix = 'O';
  std::string type = "_";
};

/// "B-x-y" is B and x-y; a tag without a dash loses its first letter. Strict tags lose dashes on both sides.
Tag split_tag(const std::string& tag, TagScheme scheme) {
  if (tag.empty()) fail("[metric] a tag is empty");
  const CodePointIndex index(tag);
  Tag out;
  out.prefix = decode_utf8(index.slice(0, 1)).front();
  std::string_view type = std::string_view(tag).substr(index.byte_offset(1));
  if (scheme == TagScheme::kStrictIob2) {
    if (out.prefix != 'B' && out.prefix != 'I' && out.prefix != 'O')
      fail("[metric] the tag \"{}\" does not begin with B, I or O", tag);
    while (!type.empty() && type.front() == '-') type.remove_prefix(1);
    while (!type.empty() && type.back() == '-') type.remove_suffix(1);
  } else if (const size_t dash = type.find('-'); dash != std::string_view::npos) {
    type.remove_prefix(dash + 1);
  }
  out.type = type.empty() ? "_" : std::string(type);
  return out;
}

/// Prefixes of conlleval: B, S open a span; E, S close one.
bool ends_span(const Tag& previous, const Tag& next) {
  const char32_t p = previous.prefix, n = next.prefix;
  if (p == 'E' || p == 'S') return true;
  if ((p == 'B' || p == 'I') && (n == 'B' || n == 'S' || n == 'O')) return true;
  return p != 'O' && p != '.' && previous.type != next.type;
}

bool begins_span(const Tag& previous, const Tag& next) {
  const char32_t p = previous.prefix, n = next.prefix;
  if (n == 'B' || n == 'S') return true;
  if ((p == 'E' || p == 'S' || p == 'O') && (n == 'E' || n == 'I')) return true;
  return n != 'O' && n != '.' && previous.type != next.type;
}

std::vector<TagSpan> lenient_spans(const std::vector<Tag>& tags) {
  std::vector<TagSpan> spans;
  Tag previous{'O', ""};
  size_t begin = 0;
  for (size_t i = 0; i <= tags.size(); ++i) {
    const Tag next = i < tags.size() ? tags[i] : Tag{};
    if (ends_span(previous, next)) spans.push_back({previous.type, begin, i});
    if (begins_span(previous, next)) begin = i;
    previous = next;
  }
  return spans;
}

std::vector<TagSpan> strict_spans(const std::vector<Tag>& tags) {
  std::vector<TagSpan> spans;
  for (size_t i = 0; i < tags.size();) {
    if (tags[i].prefix != 'B') {
      ++i;
      continue;
    }
    size_t end = i + 1;
    while (end < tags.size() && tags[end].prefix == 'I' && tags[end].type == tags[i].type) ++end;
    spans.push_back({tags[i].type, i, end});
    i = end;
  }
  return spans;
}

std::vector<TagSpan> spans_of(const std::vector<std::string>& sentence, TagScheme scheme) {
  std::vector<Tag> tags;
  tags.reserve(sentence.size());
  for (const std::string& tag : sentence) tags.push_back(split_tag(tag, scheme));
  auto spans = scheme == TagScheme::kStrictIob2 ? strict_spans(tags) : lenient_spans(tags);
  std::sort(spans.begin(), spans.end());
  return spans;
}

struct Counts {
  int64_t correct = 0, predicted = 0, actual = 0;
};

SpanScore score_of(const Counts& counts) {
  const auto ratio = [](int64_t part, int64_t whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
  };
  SpanScore score;
  score.precision = ratio(counts.correct, counts.predicted);
  score.recall = ratio(counts.correct, counts.actual);
  const double sum = score.precision + score.recall;
  score.f1 = sum > 0 ? 2 * score.precision * score.recall / sum : 0;
  score.number = counts.actual;
  return score;
}

}  // namespace

SequenceScore score_sequences(const TagSequences& references, const TagSequences& predictions,
                              TagScheme scheme) {
  if (references.size() != predictions.size())
    fail("[metric] {} reference sentences, {} predicted ones", references.size(), predictions.size());
  std::map<std::string, Counts> by_type;
  Counts all;
  int64_t tags = 0, equal = 0;
  for (size_t s = 0; s < references.size(); ++s) {
    if (references[s].size() != predictions[s].size())
      fail("[metric] sentence {}: {} reference tags, {} predicted ones", s, references[s].size(),
           predictions[s].size());
    for (size_t t = 0; t < references[s].size(); ++t) equal += references[s][t] == predictions[s][t];
    tags += static_cast<int64_t>(references[s].size());
    const auto actual = spans_of(references[s], scheme), predicted = spans_of(predictions[s], scheme);
    for (const TagSpan& span : actual) ++by_type[span.type].actual;
    for (const TagSpan& span : predicted) {
      Counts& counts = by_type[span.type];
      ++counts.predicted;
      counts.correct += std::binary_search(actual.begin(), actual.end(), span);
    }
  }
  if (tags == 0) fail("[metric] there is no tag to score");
  SequenceScore score;
  for (const auto& [type, counts] : by_type) {
    score.types.emplace_back(type, score_of(counts));
    all.correct += counts.correct;
    all.predicted += counts.predicted;
    all.actual += counts.actual;
  }
  score.overall = score_of(all);
  score.accuracy = static_cast<double>(equal) / static_cast<double>(tags);
  return score;
}

Json SequenceScore::to_json() const {
  Json json = Json::object();
  for (const auto& [type, s] : types)
    json[type] = {{"precision", s.precision}, {"recall", s.recall}, {"f1", s.f1}, {"number", s.number}};
  json["overall_precision"] = overall.precision;
  json["overall_recall"] = overall.recall;
  json["overall_f1"] = overall.f1;
  json["overall_accuracy"] = accuracy;
  return json;
}

}  // namespace qdqbert::tasks
