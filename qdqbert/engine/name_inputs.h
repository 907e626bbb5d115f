// What the inputs of a file are, by the names that exporters give them.
#pragma once

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine {

/// Gives the inputs that requests fill the names that the engine knows: input_ids, attention_mask,
/// token_type_ids, position_ids, encoder_hidden_states, encoder_attention_mask. What TensorFlow and older exporters say
/// (input_word_ids, input_mask, segment_ids, input_type_ids, ...) is another name for one of them.
void name_inputs(Graph& graph);

/// What the input position_ids gets: 0, 1, ... along its last axis, in its own type and rank; a first axis that
/// the file fixes at 1 stays so. Nothing for types and ranks that check_inputs() refuses.
std::optional<Tensor> position_ids(const Value& input, int64_t batch, int64_t choices, int64_t length);

/// Throws InputError naming an input that nothing is known about, or one whose type or rank no request has.
void check_inputs(const Graph& graph);

}  // namespace qdqbert::engine
