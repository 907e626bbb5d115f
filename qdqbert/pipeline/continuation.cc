#include "qdqbert/pipeline/continuation.h"

#include <algorithm>
#include <memory>

#include "qdqbert/base/error.h"

namespace qdqbert::pipeline {

namespace {

class Continuation {
 public:
  Continuation(const engine::Session& session, size_t output, bool use_cache)
      : session_(session), output_(output), cached_(use_cache && session.keeps_cache()) {
    if (!session.packed()) fail("[generation] the graph does not run packed: {}", session.plan()[0].note);
  }

  std::span<const float> next(const tasks::GenerationStep& step) {
    const size_t each = step.tokens.size() / step.rows;
    std::vector<int32_t> ids;
    std::vector<uint32_t> offsets = {0};
    if (cached_) {
      std::vector<engine::TextCache> caches;
      for (size_t r = 0; r < step.rows; ++r) {
        if (step.source.empty())
          caches.emplace_back();
        else
          caches.push_back(caches_[step.source[r]]);
      }
      caches_ = std::move(caches);
      ids.assign(step.tokens.begin(), step.tokens.end());
      for (size_t r = 0; r < step.rows; ++r) offsets.push_back(static_cast<uint32_t>((r + 1) * each));
    } else {
      std::vector<std::vector<int32_t>> texts;
      for (size_t r = 0; r < step.rows; ++r) {
        std::vector<int32_t> text = step.source.empty() ? std::vector<int32_t>() : texts_[step.source[r]];
        const auto row = step.tokens.subspan(r * each, each);
        text.insert(text.end(), row.begin(), row.end());
        ids.insert(ids.end(), text.begin(), text.end());
        offsets.push_back(static_cast<uint32_t>(ids.size()));
        texts.push_back(std::move(text));
      }
      texts_ = std::move(texts);
    }
    std::vector<engine::TextCache*> pointers;
    for (engine::TextCache& cache : caches_) pointers.push_back(&cache);
    std::vector<uint32_t> ends;
    for (size_t r = 0; r < step.rows; ++r) ends.push_back(offsets[r + 1] - 1);
    engine::PackedTexts batch{ids, {}, offsets, 0, {}, {}, {}};
    batch.wanted = ends;
    const std::vector<engine::Output> outputs = cached_ ? session_.run(batch, pointers) : session_.run(batch);
    const engine::Output& logits = outputs.at(output_);
    const auto words = static_cast<size_t>(logits.shape.back());
    // A vocabulary of few words is computed for all tokens.
    const size_t rows = words > 0 ? logits.values.size() / words : 0;
    if (logits.shape.size() != 2 || (rows != ends.size() && rows != ids.size()))
      fail("[generation] {} has shape {} for {} tokens, a row of logits for each is needed", logits.name,
           to_string(logits.shape), ids.size());
    last_.resize(step.rows * words);
    for (size_t r = 0; r < step.rows; ++r)
      std::copy_n(logits.values.data() + (rows == ends.size() ? r : ends[r]) * words, words,
                  last_.data() + r * words);
    return last_;
  }

 private:
  const engine::Session& session_;
  size_t output_;
  bool cached_;
  std::vector<engine::TextCache> caches_;
  std::vector<std::vector<int32_t>> texts_;  ///< without a cache: what each row holds so far
  std::vector<float> last_;
};

}  // namespace

tasks::NextTokenLogits next_token_logits(const engine::Session& session, size_t output, bool use_cache) {
  const auto continuation = std::make_shared<Continuation>(session, output, use_cache);
  return [continuation](const tasks::GenerationStep& step) { return continuation->next(step); };
}

}  // namespace qdqbert::pipeline
