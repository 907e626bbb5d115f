#include "qdqbert/nn/optim_helper.h"

#include <regex>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/nn/linear.h"

namespace qdqbert::nn {
namespace {

template <class Visit>
void for_matches(const torch::nn::Module& model, const std::vector<std::string>& patterns,
                 const Visit& visit) {
  std::vector<std::regex> expressions;
  for (const std::string& pattern : patterns) {
    try {
      expressions.emplace_back(pattern);
    } catch (const std::regex_error& error) {
      fail("[pattern] {} is no regular expression: {}", pattern, error.what());
    }
  }
  for (const auto& item : model.named_parameters()) {
    for (const std::regex& expression : expressions) {
      if (std::regex_search(item.key(), expression)) visit(item.key(), item.value());
    }
  }
}

std::optional<double> entry(const std::vector<double>& values, size_t index) {
  return values.empty() ? std::nullopt : std::optional<double>(values[index]);
}

}  // namespace

std::vector<at::Tensor> match_parameters(const torch::nn::Module& model,
                                         const std::vector<std::string>& patterns) {
  std::vector<at::Tensor> found;
  for_matches(model, patterns,
              [&](const std::string&, const at::Tensor& parameter) { found.push_back(parameter); });
  return found;
}

std::vector<ParameterGroup> group_parameters(const torch::nn::Module& model,
                                             const std::vector<std::vector<std::string>>& patterns,
                                             const std::vector<double>& lrs,
                                             const std::vector<double>& momentums,
                                             const std::vector<double>& weight_decays) {
  for (const std::vector<double>* values : {&lrs, &momentums, &weight_decays}) {
    if (!values->empty() && values->size() != patterns.size()) {
      fail("[parameter groups] the number of values, {}, must match the {} lists of patterns", values->size(),
           patterns.size());
    }
  }
  std::vector<ParameterGroup> groups;
  for (size_t i = 0; i < patterns.size(); ++i) {
    groups.push_back(
        {match_parameters(model, patterns[i]), entry(lrs, i), entry(momentums, i), entry(weight_decays, i)});
  }
  return groups;
}

void freeze_parameters(const torch::nn::Module& model, const std::vector<std::string>& patterns) {
  for_matches(model, patterns, [](const std::string& name, at::Tensor parameter) {
    log_warning("[freeze] {} is not trained", name);
    parameter.requires_grad_(false);
  });
}

void quant_weight_inplace(torch::nn::Module& model) {
  const at::NoGradGuard no_grad;
  const auto overwrite = [](torch::nn::Module* module) {
    auto* linear = dynamic_cast<QuantLinear*>(module);
    if (linear != nullptr) linear->weight.copy_(linear->weight_quantizer().forward(linear->weight));
  };
  overwrite(&model);
  for (const auto& module : model.modules(/*include_self=*/false)) overwrite(module.get());
}

}  // namespace qdqbert::nn
