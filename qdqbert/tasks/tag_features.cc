#include "qdqbert/tasks/tag_features.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/tasks/entity_decoder.h"
#include "qdqbert/tasks/sequence_metrics.h"

namespace qdqbert::tasks {

namespace {

std::vector<int64_t> labels_of(const text::Encoding& encoding, const std::vector<int64_t>& tags,
                               const std::vector<int64_t>& inside, bool all_tokens) {
  std::vector<int64_t> labels;
  int32_t previous = -1;
  for (const int32_t word : encoding.word_ids) {
    int64_t label = kIgnoredLabel;
    if (word >= 0) {
      const int64_t tag = tags[static_cast<size_t>(word)];
      if (word != previous)
        label = tag;
      else if (all_tokens && tag != kIgnoredLabel)
        label = inside[static_cast<size_t>(tag)];
    }
    labels.push_back(label);
    previous = word;
  }
  return labels;
}

double probability(std::span<const float> logits, size_t of) {
  double sum = 0;
  for (const float v : logits) sum += std::exp(static_cast<double>(v) - logits[of]);
  return 1 / sum;
}

}  // namespace

std::vector<int64_t> inside_labels(const LabelMap& labels) {
  std::vector<int64_t> inside;
  const std::vector<std::string>& names = labels.names();
  for (size_t i = 0; i < names.size(); ++i) {
    auto same = static_cast<int64_t>(i);
    if (names[i].starts_with("B-")) {
      const auto found = std::find(names.begin(), names.end(), fmt::format("I-{}", names[i].substr(2)));
      if (found != names.end()) same = found - names.begin();
    }
    inside.push_back(same);
  }
  return inside;
}

TagFeatures TagFeatures::build(const TagData& data, const LabelMap& labels, const text::Tokenizer& tokenizer,
                               const TagFeatureOptions& options, int threads) {
  text::EncodeOptions encode;
  encode.truncation = text::Truncation::kLongestFirst;
  encode.max_length = options.max_length;
  const std::vector<int64_t> inside = inside_labels(labels);
  std::vector<text::Encoding> encodings(data.examples.size());
  TagFeatures out;
  out.word_ids.resize(data.examples.size());
  if (data.labelled) out.labels.resize(data.examples.size());
  parallel_for(data.examples.size(), 32, threads, [&](size_t begin, size_t end) {
    for (size_t e = begin; e < end; ++e) {
      const TagExample& example = data.examples[e];
      encodings[e] = std::move(text::encode_words(tokenizer, example.words, {}, encode).features[0]);
      if (data.labelled) {
        std::vector<int64_t> tags;
        for (const std::string& tag : example.tags)
          tags.push_back(tag.empty() ? kIgnoredLabel : labels.id(tag, data.where(example)));
        out.labels[e] = labels_of(encodings[e], tags, inside, options.label_all_tokens);
      }
      out.word_ids[e] = encodings[e].word_ids;
    }
  });
  out.rows = TokenRows(tokenizer);
  for (size_t e = 0; e < encodings.size(); ++e) {
    out.rows.add(encodings[e]);
    const auto& words = out.word_ids[e];
    const int32_t last = words.empty() ? -1 : *std::max_element(words.begin(), words.end());
    // A cut leaves a full row; in a shorter one the last words have no pieces at all.
    if (encodings[e].ids.size() == static_cast<size_t>(options.max_length))
      out.cut_words += data.examples[e].words.size() - static_cast<size_t>(last + 1);
  }
  return out;
}

TagPrediction predict_tags(const TagFeatures& features, size_t row, size_t words,
                           std::span<const float> logits, const LabelMap& labels) {
  const std::vector<int32_t>& word_ids = features.word_ids[row];
  const size_t width = labels.size();
  if (logits.size() != word_ids.size() * width)
    fail("[tag] {} logits for {} tokens and {} labels", logits.size(), word_ids.size(), width);
  const auto& names = labels.names();
  const std::string outside = std::find(names.begin(), names.end(), "O") != names.end() ? "O" : names.at(0);
  TagPrediction out{std::vector<std::string>(words, outside), std::vector<uint8_t>(words),
                    std::vector<double>(words)};
  for (size_t t = 0; t < word_ids.size(); ++t) {
    if (word_ids[t] < 0) continue;
    const auto word = static_cast<size_t>(word_ids[t]);
    if (out.covered[word]) continue;
    const auto values = logits.subspan(t * width, width);
    if (std::any_of(values.begin(), values.end(), [](float v) { return std::isnan(v); }))
      fail("[tag] the logits of sentence {} are not numbers", row);
    const auto best = static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
    out.tags[word] = names[best];
    out.covered[word] = 1;
    out.probabilities[word] = probability(values, best);
  }
  return out;
}

namespace {

struct ScoredTags {
  TagSequences references, predicted;
};

ScoredTags scored_tags(const TagData& data, const LabelMap& labels,
                       const std::vector<TagPrediction>& predictions) {
  if (predictions.size() != data.examples.size())
    fail("[metric] {} sentences, {} predictions", data.examples.size(), predictions.size());
  ScoredTags out{TagSequences(predictions.size()), TagSequences(predictions.size())};
  for (size_t s = 0; s < predictions.size(); ++s) {
    const TagExample& example = data.examples[s];
    for (size_t w = 0; w < predictions[s].tags.size(); ++w) {
      if (!predictions[s].covered[w] || example.tags.at(w).empty()) continue;
      out.references[s].push_back(labels.name(labels.id(example.tags.at(w), data.where(example))));
      out.predicted[s].push_back(predictions[s].tags[w]);
    }
  }
  return out;
}

}  // namespace

Json tag_metrics(const TagData& data, const LabelMap& labels, const std::vector<TagPrediction>& predictions,
                 bool by_type) {
  const auto [references, predicted] = scored_tags(data, labels, predictions);
  const SequenceScore score = score_sequences(references, predicted);
  Json metrics = {{"precision", score.overall.precision},
                  {"recall", score.overall.recall},
                  {"f1", score.overall.f1},
                  {"accuracy", score.accuracy}};
  if (by_type)
    for (const auto& [type, s] : score.types)
      metrics[type] = {{"precision", s.precision}, {"recall", s.recall}, {"f1", s.f1}, {"number", s.number}};
  return metrics;
}

std::vector<std::string> doubtful_tags(const TagData& data, const LabelMap& labels,
                                       const std::vector<TagPrediction>& predictions) {
  auto [references, predicted] = scored_tags(data, labels, predictions);
  std::move(predicted.begin(), predicted.end(), std::back_inserter(references));
  return tags_without_position(references);
}

void write_tag_predictions(const std::filesystem::path& directory, const std::string& prefix,
                           const TagData& data, const LabelMap& labels,
                           const std::vector<TagPrediction>& predictions) {
  const EntityDecoder decoder(labels.names());
  std::string plain, lines;
  for (size_t s = 0; s < predictions.size(); ++s) {
    const std::vector<std::string>& words = data.examples[s].words;
    std::vector<size_t> begin{0};  // code points before each word of the joined text
    for (const std::string& word : words) begin.push_back(begin.back() + count_code_points(word) + 1);
    for (size_t w = 0; w < words.size(); ++w) plain += (w > 0 ? " " : "") + predictions[s].tags[w];
    plain += "\n";
    Json entities = Json::array();
    std::vector<size_t> tags;
    for (size_t w = 0; w < words.size(); ++w)
      tags.push_back(predictions[s].covered[w] ? static_cast<size_t>(*labels.id(predictions[s].tags[w]))
                                               : EntityDecoder::kNoTag);
    for (const TaggedEntity& span : decoder.decode(tags, predictions[s].probabilities)) {
      std::string text;
      for (size_t w = span.begin; w < span.end; ++w) text += (w > span.begin ? " " : "") + words[w];
      entities.push_back({{"type", span.type},
                          {"text", text},
                          {"words", {span.begin, span.end}},
                          {"start", begin[span.begin]},
                          {"end", begin[span.end] - 1},
                          {"score", span.score}});
    }
    const Json line = {{"words", words}, {"tags", predictions[s].tags}, {"entities", entities}};
    lines += dump_json(line, {.indent = -1, .ascii = false}) + "\n";
  }
  write_file(directory / (prefix + "_predictions.txt"), plain);
  write_file(directory / (prefix + "_entities.jsonl"), lines);
}

}  // namespace qdqbert::tasks
