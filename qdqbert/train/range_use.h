// How well the stored ranges fit what a model does with real inputs.
#pragma once

#include <string>
#include <vector>

#include "qdqbert/model/bert_model.h"

namespace qdqbert::train {

struct RangeUse {
  std::string quantizer;     ///< module path
  double amax = 0;           ///< the largest of the ranges, when there are several
  double largest = 0;        ///< magnitude that was seen
  double clipped_share = 0;  ///< of the elements, those beyond their range
};

/// One forward pass in evaluation mode over `inputs` (labels are not needed); quantizers that are off or have
/// no range are left out. The model's mode is restored.
std::vector<RangeUse> range_use(model::PreTrainedModel& model, const model::ModelInputs& inputs);

}  // namespace qdqbert::train
