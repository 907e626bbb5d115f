#include "tests/model/first_flip.h"

#include <cmath>
#include <map>
#include <vector>

#include <fmt/format.h>

#include "qdqbert/nn/state_dict.h"

namespace qdqbert::testing {
namespace {

struct Seen {
  std::string quantizer;
  at::Tensor steps;         ///< the input over the step size, float64 on the CPU
  double largest_per_unit;  ///< of the step sizes, one over the smallest
};

struct Watched {
  std::vector<Seen> seen;
  double loss;
};

Watched watched(model::PreTrainedModel& model, const model::ModelInputs& inputs) {
  std::map<std::string, std::shared_ptr<nn::TensorQuantizer>> quantizers;
  for (const model::NamedQuantizer& item : model.named_quantizers()) quantizers[item.name] = item.quantizer;
  Watched result;
  model::ForwardOptions options;
  options.tap = [&](const std::string& name, const at::Tensor& input) {
    const nn::TensorQuantizer& quantizer = *quantizers.at(name);
    const at::Tensor per_unit = quantizer.max_bound() / quantizer.amax_for(input).to(at::kCPU, at::kDouble);
    result.seen.push_back({name, input.to(at::kCPU, at::kDouble) * per_unit, per_unit.max().item<double>()});
  };
  const at::NoGradGuard no_grad;
  result.loss = model.forward(inputs, options).loss.item<double>();
  return result;
}

}  // namespace

model::ModelInputs moved(const model::ModelInputs& inputs, at::Device device, at::ScalarType type) {
  model::ModelInputs result = inputs;
  for (at::Tensor* input : {&result.input_ids, &result.attention_mask, &result.token_type_ids,
                            &result.position_ids, &result.head_mask, &result.inputs_embeds,
                            &result.encoder_hidden_states, &result.encoder_attention_mask, &result.labels,
                            &result.start_positions, &result.end_positions, &result.next_sentence_label})
    if (input->defined())
      *input = input->to(device, input->is_floating_point() ? type : input->scalar_type());
  return result;
}

void copy_exactly(const model::PreTrainedModel& model, model::PreTrainedModel& exact) {
  const at::NoGradGuard no_grad;
  std::vector<nn::NamedTensor> state;
  for (const nn::NamedTensor& item : nn::state_dict(model))
    state.push_back({item.name, item.tensor.detach().cpu()});
  nn::load_state(exact, state);
  exact.train(model.is_training());
  exact.to(at::kDouble);
}

std::optional<FirstFlip> first_flip(model::PreTrainedModel& model, model::PreTrainedModel& exact,
                                    const model::ModelInputs& inputs, double moved) {
  const Watched ours = watched(model, inputs),
                theirs = watched(exact, testing::moved(inputs, at::kCPU, at::kDouble));
  if (ours.seen.size() != theirs.seen.size()) return std::nullopt;
  for (size_t i = 0; i < ours.seen.size(); ++i) {
    const at::Tensor mine = ours.seen[i].steps.flatten(), other = theirs.seen[i].steps.flatten();
    const at::Tensor flips = (mine.round() != other.round()).nonzero();
    if (flips.numel() == 0) continue;
    const auto element = flips[0].item<int64_t>();
    const double a = mine[element].item<double>(), b = other[element].item<double>();
    const double tie = std::floor(b) + 0.5, error = std::abs(a - b),
                 largest = (mine - other).abs().max().item<double>();
    if (largest > 1e-3 + moved * theirs.seen[i].largest_per_unit || (a - tie) * (b - tie) > 0)
      return std::nullopt;
    return FirstFlip{fmt::format("{}: element {} is {:.9g} steps in float64, {:.9g} in float32 "
                                 "(error {:.2g}), {:.2g} from the tie",
                                 ours.seen[i].quantizer, element, b, a, error, std::abs(b - tie)),
                     theirs.loss};
  }
  return std::nullopt;
}

}  // namespace qdqbert::testing
