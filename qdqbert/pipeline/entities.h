// Labels of word pieces to entities in the text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/pipeline/text_model.h"
#include "qdqbert/tasks/entity_decoder.h"
#include "qdqbert/text/encoding.h"
#include "qdqbert/text/tokenizer.h"

namespace qdqbert::pipeline {

/// A word of the text and what the model says about its first piece.
struct LabelledWord {
  uint32_t begin = 0, end = 0;  ///< code points
  size_t label = 0;
  double score = 0;
};

/// `texts`: windows of one text. Pieces that continue a word belong to it, as the models are trained. A piece
/// that several windows hold counts where it is farthest from the window's ends.
std::vector<LabelledWord> label_words(const text::Tokenizer& tokenizer, std::span<const text::Encoding> texts,
                                      std::span<const TextOutput> outputs);

struct Entity {
  std::string type;
  uint32_t begin = 0, end = 0;  ///< code points
  double score = 0;             ///< mean of its words
};

/// Entities of the words' labels, which are numbers of `decoder`'s tags.
std::vector<Entity> find_entities(std::span<const LabelledWord> words, const tasks::EntityDecoder& decoder);

}  // namespace qdqbert::pipeline
