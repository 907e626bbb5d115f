// NaN and infinity: where they come in with a file, and where they would go out with a result.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine {

/// Throws InputError naming the first constant that holds NaN, or infinity where it is no bound or mask: those
/// are of 0 and -inf alone, or of one element that conditions and bounds read.
void check_finite(const Graph& graph);

/// Throws InputError naming output and value when one is NaN or infinite: nothing that can be written down.
void check_finite(std::span<const float> values, std::string_view model, std::string_view output);

}  // namespace qdqbert::engine
