#include "qdqbert/pipeline/mask_filler.h"

#include <algorithm>

#include "qdqbert/pipeline/text_scores.h"

namespace qdqbert::pipeline {

namespace {

// Logits of a whole vocabulary for each token: fewer tokens a run do the same work in less memory.
constexpr size_t kMostTokens = 256;

}  // namespace

MaskFiller::MaskFiller(Pipeline pipeline, const MaskFillerOptions& options)
    : TextTask(std::move(pipeline), TaskKind::kFillMask, "logits", true, kMostTokens), options_(options) {
  if (options_.top_k == 0) fail<UsageError>("[fill-mask] top_k is 0, a mask gets 1 filler or more");
}

PreparedText MaskFiller::prepare(const TextRequest& request) const {
  PreparedText made = encode_text(pipeline(), request);
  if (masks_of(made.rows[0]).empty())
    fail("the first {} tokens of the text hold no {}, which says what to fill in", made.rows[0].ids.size(),
         pipeline().tokenizer().options().mask);
  return made;
}

std::vector<uint32_t> MaskFiller::masks_of(const text::Encoding& row) const {
  std::vector<uint32_t> places;
  for (size_t t = 0; t < row.ids.size(); ++t)
    if (row.ids[t] == pipeline().tokenizer().mask_id()) places.push_back(static_cast<uint32_t>(t));
  return places;
}

std::vector<TextOutput> MaskFiller::run(std::span<const text::Encoding* const> rows,
                                        const RunControl& control) const {
  std::vector<std::vector<uint32_t>> masks;
  for (const text::Encoding* row : rows) masks.push_back(masks_of(*row));
  return model().run_tokens(rows, masks, control);
}

FilledText MaskFiller::answer_from(const PreparedText& prepared, std::span<const TextOutput> outputs) const {
  const text::Tokenizer& tokenizer = pipeline().tokenizer();
  FilledText answer;
  answer.truncated = prepared.truncated;
  std::vector<int32_t> filled = prepared.rows[0].ids;
  for (const uint32_t place : masks_of(prepared.rows[0])) {
    const std::vector<double> scores = softmax(outputs[0].row(answer.masks.size()));
    std::vector<Filler>& fillers = answer.masks.emplace_back();
    for (const size_t best : best_first(scores, options_.top_k)) {
      const auto id = static_cast<int32_t>(best);
      filled[place] = id;
      fillers.push_back({std::string(tokenizer.vocabulary().token(id)), id, scores[best],
                         tokenizer.decode(filled, true, true)});
    }
    filled[place] = tokenizer.mask_id();
  }
  return answer;
}

}  // namespace qdqbert::pipeline
