#include "cli/entities.h"

#include <algorithm>
#include <map>

#include "cli/text_scores.h"

namespace qdqbert::cli {

namespace {

struct Label {
  bool begins = false, outside = false;
  std::string_view type;
};

Label parse_label(std::string_view label) {
  if (label == "O") return {false, true, {}};
  if (label.size() > 2 && label[1] == '-' && (label[0] == 'B' || label[0] == 'I'))
    return {label[0] == 'B', false, label.substr(2)};
  return {false, false, label};
}

}  // namespace

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

std::vector<Entity> find_entities(std::span<const LabelledWord> words,
                                  const std::vector<std::string>& labels) {
  std::vector<Entity> entities;
  size_t members = 0;  // words of the open entity; 0: none is open
  for (const LabelledWord& word : words) {
    const Label label = parse_label(labels[word.label]);
    if (label.outside) {
      members = 0;
      continue;
    }
    if (members > 0 && !label.begins && entities.back().type == label.type) {
      Entity& open = entities.back();
      open.end = word.end;
      open.score =
          (open.score * static_cast<double>(members) + word.score) / static_cast<double>(members + 1);
      ++members;
      continue;
    }
    entities.push_back({std::string(label.type), word.begin, word.end, word.score});
    members = 1;
  }
  return entities;
}

}  // namespace qdqbert::cli
