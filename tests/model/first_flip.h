// What decides between two correct float32 evaluations of a quantized model: the first value that lies so
// near to a rounding tie that they give it different codes (last paragraph of the golden files' README).
#pragma once

#include <optional>
#include <string>

#include "qdqbert/model/heads.h"

namespace qdqbert::testing {

struct FirstFlip {
  std::string what;       ///< quantizer, element, both values, distance to the tie and error, in steps
  double exact_loss = 0;  ///< of the float64 run
};

/// Runs `model` and `exact`, a float64 model of the same class on the CPU with the same weights but for at
/// most `moved`, over the same inputs, and finds the first quantizer in the order of execution that gives
/// codes of its own to a value. nullopt when there is none, and when the first one is no matter of rounding:
/// a tie that does not lie between the two values, or an error of more than `moved` and 1e-3 of a step
/// (recorded float32 runs are off by up to 8e-5 of one at the first layer, and each layer adds its own).
std::optional<FirstFlip> first_flip(model::PreTrainedModel& model, model::PreTrainedModel& exact,
                                    const model::ModelInputs& inputs, double moved = 0);

/// Gives `exact`, a model of the same class on the CPU, the weights and ranges
/// of `model`, and makes it float64.
void copy_exactly(const model::PreTrainedModel& model, model::PreTrainedModel& exact);

/// Inputs with floating-point ones in `type`, on `device`.
model::ModelInputs moved(const model::ModelInputs& inputs, at::Device device, at::ScalarType type);

}  // namespace qdqbert::testing
