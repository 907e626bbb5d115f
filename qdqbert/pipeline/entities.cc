#include "qdqbert/pipeline/entities.h"

#include <algorithm>
#include <map>

#include "qdqbert/pipeline/text_scores.h"

namespace qdqbert::pipeline {

std::vector<LabelledWord> label_words(const text::Tokenizer& tokenizer, std::span<const text::Encoding> texts,
                                      std::span<const TextOutput> outputs) {
  struct Piece {
    uint32_t end;
    bool continues;
    size_t distance, window, row;
  };
  std::map<uint32_t, Piece> pieces;  // by beginning
  for (size_t w = 0; w < texts.size(); ++w) {
    const text::Encoding& window = texts[w];
    for (size_t t = 0; t < window.ids.size(); ++t) {
      const text::Offset at = window.offsets[t];
      if (window.special_tokens_mask[t] != 0 || at.begin == at.end) continue;
      const bool continues = tokenizer.vocabulary().token(window.ids[t]).starts_with("##");
      const Piece piece{at.end, continues, std::min(t, window.ids.size() - 1 - t), w, t};
      const auto [entry, is_new] = pieces.try_emplace(at.begin, piece);
      if (!is_new && piece.distance > entry->second.distance) entry->second = piece;
    }
  }
  std::vector<LabelledWord> words;
  for (const auto& [begin, piece] : pieces) {
    if (piece.continues && !words.empty() && words.back().end == begin) {
      words.back().end = piece.end;
      continue;
    }
    const std::vector<double> scores = softmax(outputs[piece.window].row(piece.row));
    const size_t label = best_first(scores, 1)[0];
    words.push_back({begin, piece.end, label, scores[label]});
  }
  return words;
}

std::vector<Entity> find_entities(std::span<const LabelledWord> words, const tasks::EntityDecoder& decoder) {
  std::vector<size_t> tags;
  std::vector<double> scores;
  for (const LabelledWord& word : words) {
    tags.push_back(word.label);
    scores.push_back(word.score);
  }
  std::vector<Entity> entities;
  for (tasks::TaggedEntity& found : decoder.decode(tags, scores))
    entities.push_back(
        {std::move(found.type), words[found.begin].begin, words[found.end - 1].end, found.score});
  return entities;
}

}  // namespace qdqbert::pipeline
