// AdamW over the parameters of a model, and the norm of their gradients.
#pragma once

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include "qdqbert/nn/state_dict.h"

namespace qdqbert::train {

/// Parameters that take gradients, each once (under its first name, where two are tied), in model order.
std::vector<nn::NamedTensor> trainable_parameters(const torch::nn::Module& model);

/// False for biases and the parameters of LayerNorm, which the original does
/// not decay, and for learned ranges.
bool is_decayed(const std::string& parameter_name);

/// Square root of the sum of squares of all gradients. Sums are taken in double precision over blocks
/// of fixed size in a fixed order, so the result does not depend on the number of threads.
/// Parameters without gradient count as 0.
double gradient_norm(const std::vector<nn::NamedTensor>& parameters);

/// What gradients are multiplied by so that their norm does not exceed `max_norm`: max_norm / (norm + 1e-6)
/// as float32, at most 1; 1 when max_norm is not positive.
float clip_factor(double norm, double max_norm);

/// Both on the device of the gradients, where nobody waits for them: the norm as float32 [], with sums in
/// float32, and the factor for it.
at::Tensor gradient_norm_on_device(const std::vector<nn::NamedTensor>& parameters);
at::Tensor clip_factor_on_device(const at::Tensor& norm, double max_norm);

enum class AdamVariant {
  kTorch,    ///< torch.optim.AdamW: decays first, epsilon beside the corrected root
  kLibrary,  ///< the original library's class up to release 4.29: epsilon beside the plain root, decays last
};

struct AdamOptions {
  AdamVariant variant = AdamVariant::kTorch;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  bool correct_bias = true;  ///< false: only kLibrary has it
};

/// What is decided on the device about a step there.
struct DeviceDecision {
  at::Tensor factor;  ///< float32 []: gradients are multiplied by it on the way in
  at::Tensor goes;    ///< bool []: false leaves everything as it is, and the step does not count
};

/// Moments are float32 tensors of the parameters' shapes, zero before the first step.
class AdamW {
 public:
  /// Decays the parameters that is_decayed() names; all are float32 and contiguous.
  AdamW(std::vector<nn::NamedTensor> parameters, const AdamOptions& options);

  /// One update in one pass over the memory, all threads. Gradients are multiplied by `gradient_factor` on
  /// the way in. Parameters without gradient stay as they are, and so do their moments.
  void step(double learning_rate, float gradient_factor = 1);
  /// The same for parameters on any device, without waiting for it: by the kernel of adamw_cuda.h on a GPU,
  /// elsewhere by tensor operators. The bits of the other step(), given the same factor.
  void step_on_device(double learning_rate, const DeviceDecision& decision);
  /// Drops all gradients.
  void zero_grad();

  /// Steps done; waits for the device where they are counted there.
  int64_t steps() const;
  const std::vector<nn::NamedTensor>& parameters() const { return parameters_; }
  /// "<parameter>.exp_avg" and "<parameter>.exp_avg_sq"; they share storage with the optimizer.
  std::vector<nn::NamedTensor> state() const;
  /// Copies moments; throws InputError naming one that is missing, unknown or of another shape.
  void load_state(const std::vector<nn::NamedTensor>& state, int64_t steps);

 private:
  AdamOptions options_;
  std::vector<nn::NamedTensor> parameters_;
  std::vector<bool> decayed_;
  std::vector<at::Tensor> mean_, square_;
  int64_t steps_ = 0;
  at::Tensor steps_on_device_;  // float64 []; undefined before the first step there
};

}  // namespace qdqbert::train
