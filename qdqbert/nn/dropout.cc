#include "qdqbert/nn/dropout.h"

#include <cmath>
#include <mutex>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/math.h"
#ifdef QDQBERT_HAS_CUDA_KERNELS
#include "qdqbert/nn/dropout_cuda.h"
#endif
#include "qdqbert/nn/kernels/rows.h"

namespace qdqbert::nn {
namespace {

namespace ag = torch::autograd;

thread_local DropoutPosition position_of_thread;

constexpr int64_t kBitsPerWord = 64;
// A thread makes at least this many words, or masks this many elements.
constexpr int64_t kWordGrain = 512, kElementGrain = 32768;

RandomStream next_stream() {
  DropoutPosition& position = position_of_thread;
  if (position.counted) return {position.seed, position.micro_step, position.call++};
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return {at::check_generator<at::CPUGeneratorImpl>(generator)->random64(), 0, 0};
}

/// Elements are kept where their word is at least the threshold, and multiplied by the scale.
struct Rule {
  uint32_t threshold;
  float scale;  ///< 0: none is kept
};

Rule rule_for(int64_t elements, double p) {
  if (!(p >= 0 && p <= 1)) fail("[dropout] the probability must be between 0 and 1, got {}", p);
  constexpr int64_t kMostElements = int64_t{1} << 34;
  if (elements > kMostElements) {
    fail("[dropout] a mask of {} elements is larger than the {} that are counted", elements, kMostElements);
  }
  const double threshold = std::nearbyint(std::ldexp(p, 32));
  if (threshold >= std::ldexp(1.0, 32)) return {0, 0};
  return {static_cast<uint32_t>(threshold), static_cast<float>(1 / (1 - p))};
}

// What a boolean tensor of x's shape and device says.
at::Tensor unpacked(const DropoutMask& mask, const at::Tensor& x) {
  const int64_t count = x.numel();
  at::Tensor kept = at::empty({count}, at::kBool);
  bool* out = kept.data_ptr<bool>();
  const uint64_t* words = mask.data();
  for (int64_t i = 0; i < count; ++i) out[i] = (words[i / kBitsPerWord] >> (i % kBitsPerWord) & 1) != 0;
  return kept.view(x.sizes()).to(x.device());
}

at::Tensor masked(const at::Tensor& x, const DropoutMask& mask) {
  if (!x.device().is_cpu() || x.scalar_type() != at::kFloat) {
    return x.mul(mask.scale).masked_fill(unpacked(mask, x).logical_not(), 0);
  }
  const at::Tensor in = x.contiguous();
  at::Tensor y = at::empty_like(in);
  const float* from = in.data_ptr<float>();
  float* to = y.data_ptr<float>();
  at::parallel_for(0, in.numel(), kElementGrain, [&](int64_t begin, int64_t end) {
    row_kernels().apply_mask(from + begin, mask.data(), static_cast<size_t>(begin), mask.scale,
                             static_cast<size_t>(end - begin), to + begin);
  });
  return y;
}

class DropoutFunction : public ag::Function<DropoutFunction> {
 public:
  static at::Tensor forward(ag::AutogradContext* context, const at::Tensor& x, double p) {
    const DropoutMask mask = next_dropout_mask(x.numel(), p);
    context->saved_data["words"] = mask.words;
    context->saved_data["scale"] = static_cast<double>(mask.scale);
    return masked(x, mask);
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    auto& data = context->saved_data;
    const DropoutMask mask{data["words"].toTensor(), static_cast<float>(data["scale"].toDouble())};
    return {masked(gradients[0], mask), at::Tensor()};
  }
};

}  // namespace

void begin_dropout(uint64_t seed, uint64_t micro_step) {
  position_of_thread = {true, seed, micro_step, 0};
}

DropoutPosition dropout_position() {
  return position_of_thread;
}

void set_dropout_position(const DropoutPosition& position) {
  position_of_thread = position;
}

DropoutMask next_dropout_mask(int64_t elements, double p) {
  const Rule rule = rule_for(elements, p);
  const int64_t words = divide_up(elements, kBitsPerWord);
  DropoutMask mask{at::empty({words + 1}, at::kLong), rule.scale};
  const RandomStream stream = next_stream();
  if (rule.scale == 0) {
    mask.words.zero_();
    return mask;
  }
  auto* first = reinterpret_cast<uint64_t*>(mask.words.data_ptr<int64_t>());
  first[words] = 0;
  at::parallel_for(0, words, kWordGrain, [&](int64_t begin, int64_t end) {
    row_kernels().random_mask(&stream, static_cast<uint64_t>(begin), static_cast<size_t>(end - begin),
                              rule.threshold, first + begin);
  });
  return mask;
}

at::Tensor dropout(const at::Tensor& x, double p) {
  if (p == 0) return x;
#ifdef QDQBERT_HAS_CUDA_KERNELS
  if (has_cuda_dropout(x)) {
    const Rule rule = rule_for(x.numel(), p);
    return dropout_on_cuda(x, next_stream(), rule.threshold, rule.scale);
  }
#endif
  return DropoutFunction::apply(x, p);
}

}  // namespace qdqbert::nn
