// The one place that names the version; CMake reads it from here.
#pragma once

#define QDQBERT_VERSION "0.1.0"

namespace qdqbert {

inline constexpr const char* kVersion = QDQBERT_VERSION;

}  // namespace qdqbert
