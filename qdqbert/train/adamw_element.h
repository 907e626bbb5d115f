// AdamW of one number, the same bits on a GPU as on the CPU: one definition for both compilers.
#pragma once

#include <math.h>

#ifdef __CUDACC__
#define QDQBERT_HOST_DEVICE __host__ __device__
#else
#define QDQBERT_HOST_DEVICE
#endif

namespace qdqbert::train {

/// The factors of one step, see AdamW.
struct AdamCoefficients {
  float gradient, beta1, one_minus_beta1, beta2, one_minus_beta2, keep, decay, step, root, epsilon;
};

/// Parameter p with its moments m and v, from gradient g: torch.optim.AdamW.
QDQBERT_HOST_DEVICE inline void adam_element_torch(const AdamCoefficients& c, float g, float* p, float* m,
                                                   float* v) {
  const float gradient = g * c.gradient;
  *m = *m * c.beta1 + gradient * c.one_minus_beta1;
  *v = *v * c.beta2 + gradient * gradient * c.one_minus_beta2;
  *p = *p * c.keep - c.step * (*m / (sqrtf(*v) / c.root + c.epsilon));
}

/// The same of the original library's own class.
QDQBERT_HOST_DEVICE inline void adam_element_library(const AdamCoefficients& c, float g, float* p, float* m,
                                                     float* v) {
  const float gradient = g * c.gradient;
  *m = *m * c.beta1 + gradient * c.one_minus_beta1;
  *v = *v * c.beta2 + gradient * gradient * c.one_minus_beta2;
  const float moved = *p - c.step * (*m / (sqrtf(*v) + c.epsilon));
  *p = moved - moved * c.decay;
}

}  // namespace qdqbert::train
