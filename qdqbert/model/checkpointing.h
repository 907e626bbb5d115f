// Trading time for memory in training: a layer's intermediate results are
// computed again when gradients need them.
#pragma once

#include "qdqbert/model/encoder.h"

namespace qdqbert::model {

/// layer.forward without keeping intermediate results. Gradients flow to `hidden`, to the encoder
/// states and to the layer's parameters; random numbers (dropout) are the same in both passes.
/// Quantizers and calibrators run twice.
LayerOutput checkpoint_layer(const std::shared_ptr<Layer>& layer, const at::Tensor& hidden,
                             const LayerInputs& inputs, const LayerContext& context);

}  // namespace qdqbert::model
