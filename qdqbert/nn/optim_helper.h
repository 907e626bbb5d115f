// Choosing parameters by the names that they have in the model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <torch/nn/module.h>

namespace qdqbert::nn {

/// Parameters whose name contains a match of a pattern (ECMAScript regular expressions), in model order; one
/// parameter once per matching pattern. Throws InputError for an invalid pattern.
std::vector<at::Tensor> match_parameters(const torch::nn::Module& model,
                                         const std::vector<std::string>& patterns);

/// What an optimizer treats alike; values that are absent are the optimizer's own.
struct ParameterGroup {
  std::vector<at::Tensor> parameters;
  std::optional<double> lr, momentum, weight_decay;
};

/// One group per list of patterns, with its entry of each list that is not empty. Throws InputError when a
/// list has another length. A parameter may be in several groups.
std::vector<ParameterGroup> group_parameters(const torch::nn::Module& model,
                                             const std::vector<std::vector<std::string>>& patterns,
                                             const std::vector<double>& lrs = {},
                                             const std::vector<double>& momentums = {},
                                             const std::vector<double>& weight_decays = {});

/// Switches the gradients of matching parameters off, with a warning for each match.
void freeze_parameters(const torch::nn::Module& model, const std::vector<std::string>& patterns);

/// Overwrites the weight of every quantized linear layer with what its quantizer
/// makes of it. Quantizers stay as they are.
void quant_weight_inplace(torch::nn::Module& model);

}  // namespace qdqbert::nn
