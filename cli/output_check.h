// Whether what a model gives can be answered with.
#pragma once

#include <span>

#include "cli/text_model.h"

namespace qdqbert::cli {

/// Throws InputError when a value is no finite number.
void require_numbers(std::span<const TextOutput> outputs);

}  // namespace qdqbert::cli
