#include "qdqbert/model/generation.h"

#include "qdqbert/base/error.h"

namespace qdqbert::model {

ModelInputs prepare_causal_inputs(const at::Tensor& input_ids, const at::Tensor& attention_mask,
                                  const PastKeyValues& past) {
  ModelInputs inputs;
  inputs.input_ids = input_ids;
  inputs.attention_mask = attention_mask.defined() ? attention_mask : at::ones_like(input_ids);
  inputs.past_key_values = past;
  if (!past.empty()) {
    const int64_t cached = past[0].at(0).size(2), length = input_ids.size(1);
    inputs.input_ids = input_ids.slice(1, length > cached ? cached : length - 1);
  }
  return inputs;
}

ModelInputs prepare_masked_inputs(const at::Tensor& input_ids, const at::Tensor& attention_mask,
                                  std::optional<int64_t> pad_token_id) {
  if (!pad_token_id) fail("[generation] needs a padding token, the configuration has none");
  const int64_t batch = input_ids.size(0);
  const at::Tensor mask = attention_mask.defined() ? attention_mask : at::ones_like(input_ids);
  ModelInputs inputs;
  inputs.input_ids = at::cat({input_ids, at::full({batch, 1}, *pad_token_id, input_ids.options())}, 1);
  inputs.attention_mask = at::cat({mask, at::zeros({batch, 1}, mask.options())}, 1);
  return inputs;
}

PastKeyValues reorder_cache(const PastKeyValues& past, const at::Tensor& rows) {
  PastKeyValues reordered;
  for (const LayerCache& cache : past) {
    reordered.emplace_back();
    for (const at::Tensor& tensor : cache)
      reordered.back().push_back(tensor.index_select(0, rows.to(tensor.device())));
  }
  return reordered;
}

}  // namespace qdqbert::model
