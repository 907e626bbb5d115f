#include "cli/output_check.h"

#include <algorithm>
#include <cmath>

#include "qdqbert/base/error.h"

namespace qdqbert::cli {

void require_numbers(std::span<const TextOutput> outputs) {
  for (const TextOutput& output : outputs)
    if (!std::all_of(output.values.begin(), output.values.end(), [](float v) { return std::isfinite(v); }))
      fail("[predict] the model's output for this text holds values that are no finite numbers");
}

}  // namespace qdqbert::cli
