#pragma once

#include <ATen/ATen.h>

#include "qdqbert/io/activation.h"

namespace qdqbert::model {

/// The activation function applied to each element. With `may_overwrite` and without
/// gradients the result may be written over x.
at::Tensor activate(io::Activation activation, const at::Tensor& x, bool may_overwrite = false);

}  // namespace qdqbert::model
