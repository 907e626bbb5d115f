// Next-token logits of a session, for text generation.
#pragma once

#include <string>

#include "qdqbert/engine/session.h"
#include "qdqbert/tasks/text_generation.h"

namespace qdqbert::pipeline {

/// Logits behind the last token of each row, for one generation. Rows that a session can continue go on with
/// its cache; others, and all with `use_cache` false, are computed as a whole each time, to the same bits
/// where the session promises them. `output`: index of the logits [tokens, vocabulary]. The session has to
/// live as long as the result.
tasks::NextTokenLogits next_token_logits(const engine::Session& session, size_t output, bool use_cache);

}  // namespace qdqbert::pipeline
