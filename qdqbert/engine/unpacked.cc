#include "qdqbert/engine/unpacked.h"

#include <algorithm>
#include <chrono>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/name_inputs.h"
#include "qdqbert/engine/passes/fold_constants.h"
#include "qdqbert/engine/reference/operators.h"

namespace qdqbert::engine {

namespace {

template <class Integer>
Tensor encoder_states(const PaddedBatch<Integer>& batch, const Value& input) {
  const size_t rows = batch.batch * batch.encoder_length, values = batch.encoder_hidden_states.size();
  if (rows == 0 || values == 0 || values % rows != 0 || (input.dtype && *input.dtype != DType::kF32))
    fail("[session] encoder_hidden_states has {} values for {} texts of {} rows", values, batch.batch,
         batch.encoder_length);
  const Shape shape = {static_cast<int64_t>(batch.batch), static_cast<int64_t>(batch.encoder_length),
                       static_cast<int64_t>(values / rows)};
  return tensor_of(make_tensor(shape, batch.encoder_hidden_states));
}

}  // namespace

bool is_text_mask(const std::string& input) {
  return input.find("mask") != std::string::npos && !input.starts_with("encoder_");
}

Unpacked::Unpacked(Graph graph, int threads) : graph_(std::move(graph)), threads_(threads) {}

const Graph& Unpacked::folded() const {
  std::call_once(is_folded_, [this] { fold_constants(graph_); });
  return graph_;
}

std::string Unpacked::missing() const {
  for (const Node& node : folded().nodes) {
    const std::string lacks = reference::unsupported(node);
    if (!lacks.empty()) return fmt::format("node {} cannot run: {}", node.name, lacks);
  }
  return {};
}

template <class Integer>
std::vector<Output> Unpacked::run(const PaddedBatch<Integer>& batch, bool by_choices,
                                  int64_t* nanoseconds) const {
  const Graph& graph = folded();
  Shape rows = {static_cast<int64_t>(batch.batch), static_cast<int64_t>(batch.length)};
  if (by_choices)
    rows = {rows[0] / static_cast<int64_t>(batch.choices), static_cast<int64_t>(batch.choices), rows[1]};
  std::vector<Tensor> inputs;
  for (const ValueId id : graph.inputs) {
    const Value& input = graph.values[id];
    if (input.name == "encoder_hidden_states") {
      inputs.push_back(encoder_states(batch, input));
      continue;
    }
    if (input.name == "position_ids") {
      inputs.push_back(*position_ids(input, static_cast<int64_t>(batch.batch),
                                     static_cast<int64_t>(batch.choices),
                                     static_cast<int64_t>(batch.length)));
      continue;
    }
    std::span<const Integer> values;
    int64_t otherwise = 0;
    Shape shape = rows;
    if (input.name == "encoder_attention_mask") {
      values = batch.encoder_attention_mask;
      otherwise = 1;
      shape = {rows[0], static_cast<int64_t>(batch.encoder_length)};
    } else if (input.name == "input_ids") {
      values = batch.input_ids;
    } else if (is_text_mask(input.name)) {
      values = batch.attention_mask;
      otherwise = 1;
    } else if (input.name == "token_type_ids") {
      values = batch.token_type_ids;
    } else {
      fail("[session] {}: nothing is known about the input {}", graph.name, input.name);
    }
    const auto count = static_cast<size_t>(element_count(shape));
    if (!values.empty() && values.size() != count)
      fail("[session] {} has {} values, its shape is {}", input.name, values.size(), to_string(shape));
    std::vector<int64_t> given(count, otherwise);
    std::copy(values.begin(), values.end(), given.begin());
    const DType dtype = input.dtype.value_or(DType::kI64);
    std::optional<Tensor> tensor = whole_numbers(dtype, shape, given);
    if (!tensor)
      fail("[session] {}: the input {} has type {}; ids and masks are I64, I32, F32 or BOOL", graph.name,
           input.name, name_of(dtype));
    inputs.push_back(std::move(*tensor));
  }
  const auto before = std::chrono::steady_clock::now();
  // A second request at the same time computes on its own thread.
  const std::unique_lock shared(mutex_, std::try_to_lock);
  if (shared && !pool_) pool_ = std::make_unique<WorkerPool>(threads_);
  const std::vector<Tensor> results = reference::run(graph, inputs, {.pool = shared ? pool_.get() : nullptr});
  if (nanoseconds)
    *nanoseconds =
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - before)
            .count();
  std::vector<Output> outputs;
  for (size_t i = 0; i < results.size(); ++i)
    outputs.push_back({graph.values[graph.outputs[i]].name, results[i].shape, to_float32(results[i].view())});
  return outputs;
}

template std::vector<Output> Unpacked::run(const PaddedBatch<int64_t>&, bool, int64_t*) const;
template std::vector<Output> Unpacked::run(const PaddedBatch<int32_t>&, bool, int64_t*) const;

}  // namespace qdqbert::engine
