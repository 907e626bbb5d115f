#include "qdqbert/engine/name_inputs.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>

#include "qdqbert/base/error.h"

namespace qdqbert::engine {

namespace {

const std::map<std::string_view, std::string_view> kNames = {
    {"input_ids", "input_ids"},
    {"input_word_ids", "input_ids"},
    {"attention_mask", "attention_mask"},
    {"input_mask", "attention_mask"},
    {"mask", "attention_mask"},
    {"token_type_ids", "token_type_ids"},
    {"segment_ids", "token_type_ids"},
    {"input_type_ids", "token_type_ids"},
    {"position_ids", "position_ids"},
    {"encoder_hidden_states", "encoder_hidden_states"},
    {"encoder_attention_mask", "encoder_attention_mask"},
};

/// Without what TensorFlow puts around names: "serving_default_input_ids:0" is input_ids.
std::string_view bare(std::string_view name) {
  constexpr std::string_view kPrefix = "serving_default_";
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  if (name.ends_with(":0")) name.remove_suffix(2);
  return name;
}

}  // namespace

void name_inputs(Graph& graph) {
  for (const ValueId id : graph.inputs) {
    const auto found = kNames.find(bare(graph.values[id].name));
    if (found == kNames.end()) continue;
    // Two inputs of one meaning: the second keeps a name that nothing is known about.
    const bool taken = std::any_of(graph.values.begin(), graph.values.end(),
                                   [&](const Value& value) { return value.name == found->second; });
    if (!taken) graph.values[id].name = found->second;
  }
}

std::optional<Tensor> position_ids(const Value& input, int64_t batch, int64_t choices, int64_t length) {
  const size_t rank = input.shape ? input.shape->size() : 2;
  Shape shape = {length};
  if (rank == 2)
    shape = {input.shape && input.shape->front() == 1 ? 1 : batch, length};
  else if (rank == 3)
    shape = {batch / std::max<int64_t>(1, choices), std::max<int64_t>(1, choices), length};
  else if (rank != 1)
    return std::nullopt;
  std::vector<int64_t> positions(static_cast<size_t>(element_count(shape)));
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int64_t>(i) % length;
  return whole_numbers(input.dtype.value_or(DType::kI64), shape, positions);
}

void check_inputs(const Graph& graph) {
  for (const ValueId id : graph.inputs) {
    const Value& input = graph.values[id];
    const auto found = kNames.find(input.name);
    if (found == kNames.end() || found->second != input.name)
      fail(
          "[session] {}: nothing is known about the input {}; input_ids, attention_mask, token_type_ids, "
          "position_ids, encoder_hidden_states and encoder_attention_mask are filled, export without others",
          graph.name, input.name);
    const DType dtype = input.dtype.value_or(DType::kI64);
    if (input.name == "encoder_hidden_states" ? input.dtype && dtype != DType::kF32
                                              : !whole_numbers(dtype, {0}, {}))
      fail("[session] {}: the input {} has type {}; ids and masks are I64, I32, F32 or BOOL, states F32",
           graph.name, input.name, name_of(dtype));
    const size_t rank = input.shape ? input.shape->size() : 2;
    const bool fits = input.name == "encoder_hidden_states" ? rank == 3 || !input.shape
                      : input.name == "position_ids"        ? rank >= 1 && rank <= 3
                                                            : rank == 2 || rank == 3;
    if (!fits)
      fail("[session] {}: the input {} has shape {}; texts are [B, S], questions with choices [B, C, S]",
           graph.name, input.name, to_string(*input.shape));
  }
}

}  // namespace qdqbert::engine
