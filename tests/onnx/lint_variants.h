// Graphs that keep or break one rule of quantized runtimes each.
// The lint's verdict is a unit test, TensorRT's a peer test.
#pragma once

#include <string>
#include <vector>

#include "qdqbert/onnx/model.h"

namespace qdqbert::testing {

struct LintVariant {
  std::string name;
  onnx::Model model;
};

/// One layer of export_kinds.h's small model, changed. "as-exported" is not.
std::vector<LintVariant> lint_variants();

}  // namespace qdqbert::testing
