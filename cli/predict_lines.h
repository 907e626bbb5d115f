// JSON lines in, JSON lines out, one answer or one error for each.
#pragma once

#include <cstdint>
#include <functional>

#include "cli/answerer.h"
#include "cli/json_requests.h"
#include "cli/predict_options.h"
#include "cli/predictor.h"

namespace qdqbert::cli {

struct LineCounts {
  int64_t answered = 0, refused = 0;
};

/// Text to where the answers go.
using TextSink = std::function<void(const std::string& text)>;

/// Reads until the end. Lines that have arrived are answered together, up to options.tokens_per_batch; when
/// no more is there, what is there is answered, so that a program at the other end of a pipe may wait for
/// each answer. `look` is called often and may throw.
LineCounts answer_lines(LineReader& reader, const Answerer& answerer, const PredictOptions& options,
                        const std::function<void()>& look, const TextSink& sink);

/// The same for texts: every other task.
LineCounts answer_text_lines(LineReader& reader, const Predictor& task, const PredictOptions& options,
                             const std::function<void()>& look, const TextSink& sink);

/// The same for lines of token ids, one run each, with all outputs of the model.
LineCounts answer_raw_lines(LineReader& reader, const engine::Session& session,
                            const std::function<void()>& look, const TextSink& sink);

}  // namespace qdqbert::cli
