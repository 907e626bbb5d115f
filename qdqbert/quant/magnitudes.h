// Extremes of |x| in one pass, for calibrators.
#pragma once

#include <span>

#include "qdqbert/quant/kernels.h"

namespace qdqbert::quant {

/// threads <= 0: default_threads(); small inputs use one.
Magnitudes magnitudes(std::span<const float> x, int threads = 0);

}  // namespace qdqbert::quant
