#pragma once

#include <vector>

#include "qdqbert/base/cpu_features.h"

namespace qdqbert::engine {

/// Every ISA that this machine can run, the scalar reference first.
inline std::vector<Isa> machine_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : kIsas)
    if (supports(isa)) isas.push_back(isa);
  return isas;
}

}  // namespace qdqbert::engine
