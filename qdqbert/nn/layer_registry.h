// Which class stands behind a layer's name when a model is built: what monkey
// patching does in Python, as a value.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "qdqbert/nn/linear.h"

namespace qdqbert::nn {

struct LinearOptions {
  int64_t in_features, out_features;
  bool has_bias = true;
};

/// Makes layers by name. A plain value: changing it never changes layers that exist.
class LayerRegistry {
 public:
  using Factory = std::function<std::shared_ptr<Linear>(const LinearOptions&, const QuantDefaults&)>;

  /// "Linear" makes Linear.
  static LayerRegistry floating();
  /// "Linear" makes QuantLinear, unless it is in `skip`; `custom` wins over both. Throws InputError for a
  /// name in `skip` that is no default.
  static LayerRegistry quantized(const std::set<std::string>& skip = {},
                                 const std::map<std::string, Factory>& custom = {});

  /// Throws InputError for an unknown name.
  std::shared_ptr<Linear> make(const std::string& name, const LinearOptions& options,
                               const QuantDefaults& defaults = {}) const;

 private:
  std::map<std::string, Factory> factories_;
};

}  // namespace qdqbert::nn
