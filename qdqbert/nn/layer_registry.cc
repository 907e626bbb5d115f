#include "qdqbert/nn/layer_registry.h"

#include "qdqbert/base/error.h"

namespace qdqbert::nn {
namespace {

std::shared_ptr<Linear> make_float(const LinearOptions& options, const QuantDefaults&) {
  return std::make_shared<Linear>(options.in_features, options.out_features, options.has_bias);
}

std::shared_ptr<Linear> make_quantized(const LinearOptions& options, const QuantDefaults& defaults) {
  return std::make_shared<QuantLinear>(options.in_features, options.out_features, options.has_bias, defaults);
}

}  // namespace

LayerRegistry LayerRegistry::floating() {
  LayerRegistry registry;
  registry.factories_["Linear"] = make_float;
  return registry;
}

LayerRegistry LayerRegistry::quantized(const std::set<std::string>& skip,
                                       const std::map<std::string, Factory>& custom) {
  LayerRegistry registry = floating();
  for (const std::string& name : skip) {
    if (!registry.factories_.contains(name)) fail("[layers] {} is no layer that would be replaced", name);
  }
  if (!skip.contains("Linear")) registry.factories_["Linear"] = make_quantized;
  for (const auto& [name, factory] : custom) registry.factories_[name] = factory;
  return registry;
}

std::shared_ptr<Linear> LayerRegistry::make(const std::string& name, const LinearOptions& options,
                                            const QuantDefaults& defaults) const {
  const auto found = factories_.find(name);
  if (found == factories_.end()) fail("[layers] there is no layer called {}", name);
  return found->second(options, defaults);
}

}  // namespace qdqbert::nn
