#include "qdqbert/pipeline/tagger.h"

#include "qdqbert/pipeline/entities.h"
#include "qdqbert/pipeline/text_scores.h"

namespace qdqbert::pipeline {

Tagger::Tagger(Pipeline pipeline)
    : TextTask(std::move(pipeline), TaskKind::kTag, "logits", true, kAnyTokens),
      labels_(labels_for(this->pipeline().facts(), model())),
      decoder_(labels_) {
  if (decoder_.unnamed())
    log_warning(
        "the labels of {} are numbers without names, so no entities can be told; name them in id2label of "
        "config.json beside it",
        this->pipeline().name());
}

PreparedText Tagger::prepare(const std::string& text) const {
  check_text(text);
  text::EncodeOptions options;
  options.truncation = text::Truncation::kLongestFirst;
  const int length = static_cast<int>(pipeline().max_length());
  options.max_length = length;
  options.stride = (length - 2) / 2;
  options.return_overflow = true;
  return {text, std::move(text::encode(pipeline().tokenizer(), {text}, {}, options).features)};
}

Tagging Tagger::answer_from(const PreparedText& prepared, std::span<const TextOutput> outputs) const {
  const CodePointIndex index(prepared.text);
  const std::vector<LabelledWord> words = label_words(pipeline().tokenizer(), prepared.rows, outputs);
  Tagging answer;
  for (const LabelledWord& word : words)
    answer.words.push_back(
        {word.label, labels_[word.label], word.score, text_span(index, word.begin, word.end)});
  for (const Entity& entity : find_entities(words, decoder_))
    answer.entities.push_back({entity.type, std::string(index.slice(entity.begin, entity.end)), entity.score,
                               text_span(index, entity.begin, entity.end)});
  return answer;
}

}  // namespace qdqbert::pipeline
