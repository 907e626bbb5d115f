// Kinds of element types.
#pragma once

#include "qdqbert/base/dtype.h"

namespace qdqbert::io {

constexpr bool is_floating(DType dtype) {
  return dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

}  // namespace qdqbert::io
