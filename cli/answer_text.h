// An answer as one line of JSON.
#pragma once

#include "qdqbert/base/json.h"
#include "qdqbert/pipeline/question_answerer.h"

namespace qdqbert::cli {

/// {answer, score, start, end}, with version 2 also null_odds, with n_best > 1 also n_best: a list of the
/// same four. Score is the probability among the candidates; start and end are code points of the context.
/// Where nothing was found or there is no answer, the text is "" and start and end are 0.
Json answer_json(const pipeline::Answer& answer, int64_t n_best);

}  // namespace qdqbert::cli
