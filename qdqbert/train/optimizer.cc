#include "qdqbert/train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <ATen/Parallel.h>

#include "qdqbert/base/dtype.h"
#include "qdqbert/base/error.h"
#include "qdqbert/train/optimizer_kernels.h"

namespace qdqbert::train {

namespace {

// Sums and updates work on blocks of this many numbers, whatever the number of threads.
constexpr int64_t kBlock = 16384;

struct Block {
  size_t tensor;
  int64_t begin, end;
};

std::vector<Block> blocks_of(const std::vector<at::Tensor>& tensors) {
  std::vector<Block> blocks;
  for (size_t t = 0; t < tensors.size(); ++t)
    for (int64_t begin = 0; tensors[t].defined() && begin < tensors[t].numel(); begin += kBlock)
      blocks.push_back({t, begin, std::min(begin + kBlock, tensors[t].numel())});
  return blocks;
}

std::vector<at::Tensor> gradients_of(const std::vector<nn::NamedTensor>& parameters) {
  std::vector<at::Tensor> gradients;
  for (const nn::NamedTensor& item : parameters) {
    const at::Tensor& gradient = item.tensor.grad();
    gradients.push_back(gradient.defined() ? gradient.to(at::kFloat).contiguous() : gradient);
  }
  return gradients;
}

}  // namespace

std::vector<nn::NamedTensor> trainable_parameters(const torch::nn::Module& model) {
  std::vector<nn::NamedTensor> parameters;
  std::set<const void*> seen;
  for (const auto& item : model.named_parameters())
    if (item.value().requires_grad() && seen.insert(item.value().unsafeGetTensorImpl()).second)
      parameters.push_back({item.key(), item.value()});
  return parameters;
}

bool is_decayed(const std::string& name) {
  for (const char* part : {"bias", "LayerNorm", "clip_value_"})
    if (name.find(part) != std::string::npos) return false;
  return true;
}

double gradient_norm(const std::vector<nn::NamedTensor>& parameters) {
  const std::vector<at::Tensor> gradients = gradients_of(parameters);
  const std::vector<Block> blocks = blocks_of(gradients);
  std::vector<double> sums(blocks.size());
  at::parallel_for(0, static_cast<int64_t>(blocks.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto b = static_cast<size_t>(begin); b < static_cast<size_t>(end); ++b)
      sums[b] = sum_of_squares(gradients[blocks[b].tensor].data_ptr<float>() + blocks[b].begin,
                               blocks[b].end - blocks[b].begin);
  });
  double sum = 0;
  for (const double s : sums) sum += s;
  return std::sqrt(sum);
}

float clip_factor(double norm, double max_norm) {
  if (max_norm <= 0) return 1;
  return std::min(1.0F, static_cast<float>(max_norm) / (static_cast<float>(norm) + 1e-6F));
}

AdamW::AdamW(std::vector<nn::NamedTensor> parameters, const AdamOptions& options)
    : options_(options), parameters_(std::move(parameters)) {
  for (const nn::NamedTensor& item : parameters_) {
    if (item.tensor.scalar_type() != at::kFloat || !item.tensor.is_contiguous())
      fail("[optimizer] {} is not a contiguous float32 tensor", item.name);
    decayed_.push_back(is_decayed(item.name));
    mean_.push_back(at::zeros_like(item.tensor));
    square_.push_back(at::zeros_like(item.tensor));
  }
}

void AdamW::step(double learning_rate, float gradient_factor) {
  ++steps_;
  const auto t = static_cast<double>(steps_);
  const bool torch = options_.variant == AdamVariant::kTorch;
  const bool correct = torch || options_.correct_bias;
  const double correction1 = correct ? 1 - std::pow(options_.beta1, t) : 1;
  const double root = correct ? std::sqrt(1 - std::pow(options_.beta2, t)) : 1;
  AdamCoefficients c{};
  c.gradient = gradient_factor;
  c.beta1 = static_cast<float>(options_.beta1);
  c.one_minus_beta1 = static_cast<float>(1 - options_.beta1);
  c.beta2 = static_cast<float>(options_.beta2);
  c.one_minus_beta2 = static_cast<float>(1 - options_.beta2);
  c.step = static_cast<float>(torch ? learning_rate / correction1 : learning_rate * root / correction1);
  c.root = static_cast<float>(root);
  c.epsilon = static_cast<float>(options_.epsilon);
  const double decay = learning_rate * options_.weight_decay;

  const std::vector<at::Tensor> gradients = gradients_of(parameters_);
  const std::vector<Block> blocks = blocks_of(gradients);
  at::parallel_for(0, static_cast<int64_t>(blocks.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto b = static_cast<size_t>(begin); b < static_cast<size_t>(end); ++b) {
      const Block& block = blocks[b];
      AdamCoefficients own = c;
      own.decay = decayed_[block.tensor] ? static_cast<float>(decay) : 0;
      own.keep = decayed_[block.tensor] ? static_cast<float>(1 - decay) : 1;
      const auto update = torch ? adam_update_torch : adam_update_library;
      update(own, block.end - block.begin, gradients[block.tensor].data_ptr<float>() + block.begin,
             parameters_[block.tensor].tensor.data_ptr<float>() + block.begin,
             mean_[block.tensor].data_ptr<float>() + block.begin,
             square_[block.tensor].data_ptr<float>() + block.begin);
    }
  });
  // Layers keep quantized weights until the weight's version changes; writes through pointers do not count.
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (gradients[i].defined()) parameters_[i].tensor.unsafeGetTensorImpl()->bump_version();
}

int64_t AdamW::steps() const {
  return steps_on_device_.defined() ? static_cast<int64_t>(steps_on_device_.item<double>()) : steps_;
}

void AdamW::zero_grad() {
  for (nn::NamedTensor& item : parameters_) item.tensor.mutable_grad().reset();
}

std::vector<nn::NamedTensor> AdamW::state() const {
  std::vector<nn::NamedTensor> state;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    state.push_back({parameters_[i].name + ".exp_avg", mean_[i]});
    state.push_back({parameters_[i].name + ".exp_avg_sq", square_[i]});
  }
  return state;
}

void AdamW::load_state(const std::vector<nn::NamedTensor>& state, int64_t steps) {
  std::map<std::string, at::Tensor> given;
  for (const nn::NamedTensor& item : state) given[item.name] = item.tensor;
  const std::vector<nn::NamedTensor> own = this->state();
  for (const nn::NamedTensor& item : own) {
    const auto found = given.find(item.name);
    if (found == given.end()) fail("[optimizer] {} is missing", item.name);
    if (found->second.sizes() != item.tensor.sizes())
      fail("[optimizer] {} has shape {}, the model needs {}", item.name,
           to_string(Shape(found->second.sizes().begin(), found->second.sizes().end())),
           to_string(Shape(item.tensor.sizes().begin(), item.tensor.sizes().end())));
  }
  if (given.size() != own.size())
    fail("[optimizer] there are {} tensors, the trained parameters need {}", given.size(), own.size());
  for (const nn::NamedTensor& item : own) item.tensor.copy_(given.at(item.name));
  steps_ = steps;
  steps_on_device_ = at::Tensor();
}

}  // namespace qdqbert::train
