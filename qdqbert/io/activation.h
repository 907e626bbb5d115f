// Names of the activation functions that a configuration may ask for.
#pragma once

#include <optional>
#include <string_view>

namespace qdqbert::io {

enum class Activation {
  kGelu,
  kGelu10,
  kGeluAccurate,
  kGeluFast,
  kGeluNew,
  kGeluPython,
  kGeluPytorchTanh,
  kLaplace,
  kLeakyRelu,
  kLinear,
  kMish,
  kQuickGelu,
  kRelu,
  kRelu2,
  kRelu6,
  kSigmoid,
  kSilu,
  kSwish,
  kTanh,
};

/// The spelling in config.json, e.g. "gelu_new".
std::string_view name_of(Activation activation);
/// nullopt for a name that is not in the table ("selu" is not).
std::optional<Activation> activation_of(std::string_view name);
/// All names, comma-separated, for messages.
std::string_view activation_names();

}  // namespace qdqbert::io
