// JSON lines in, JSON lines out, one answer or one error for each.
#pragma once

#include <cstdint>
#include <functional>

#include "qdqbert/engine/session.h"

#include "cli/json_requests.h"
#include "cli/predictor.h"

namespace qdqbert::cli {

struct LineCounts {
  int64_t answered = 0, refused = 0;
};

/// Text to where the answers go.
using TextSink = std::function<void(const std::string& text)>;

/// A line as a request of the task, parse_question() or parse_text(). Throws InputError; sets the line's id as
/// far as it was read.
using RequestReader = std::function<TextRequest(const LineReader::Line& line, size_t longest, Json& id)>;

/// Reads until the end. Lines that have arrived are answered together, up to `tokens_per_batch`; when no more
/// is there, what is there is answered, so that a program at the other end of a pipe may wait for each answer.
/// `look` is called while waiting, as `control` is during runs; both may throw.
LineCounts answer_lines(LineReader& reader, const Predictor& task, const RequestReader& read,
                        size_t tokens_per_batch, const pipeline::RunControl& control,
                        const std::function<void()>& look, const TextSink& sink);

/// The same for lines of token ids, one run each, with all outputs of the model.
LineCounts answer_raw_lines(LineReader& reader, const engine::Session& session,
                            const std::function<void()>& look, const TextSink& sink);

}  // namespace qdqbert::cli
