// The loops of the optimizer over plain arrays.
#pragma once

#include <cstdint>

#include "qdqbert/train/adamw_element.h"

namespace qdqbert::train {

/// Sum of squares in double precision, in an order that depends on `count` alone.
double sum_of_squares(const float* values, int64_t count);

/// Updates `count` parameters p with their moments m and v from gradients g,
/// in one pass; the arrays do not overlap.
void adam_update_torch(const AdamCoefficients& c, int64_t count, const float* g, float* p, float* m,
                       float* v);
void adam_update_library(const AdamCoefficients& c, int64_t count, const float* g, float* p, float* m,
                         float* v);

}  // namespace qdqbert::train
