#include "qdqbert/base/cpu_features.h"

namespace qdqbert {

const CpuFeatures& cpu_features() {
  static const CpuFeatures features;  // no kernels are written for what this processor has beyond its base
  return features;
}

void pause_spinning() {
  asm volatile("yield");
}

}  // namespace qdqbert
