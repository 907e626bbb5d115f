#include "qdqbert/nn/shared_input.h"

#include <bit>
#include <mutex>
#include <unordered_map>

namespace qdqbert::nn {
namespace {

bool same_params(const quant::QuantParams& a, const quant::QuantParams& b) {
  return a.num_bits == b.num_bits && a.is_unsigned == b.is_unsigned && a.narrow_range == b.narrow_range &&
         a.arithmetic == b.arithmetic;
}

bool same_bits(std::optional<float> a, std::optional<float> b) {
  if (!a || !b) return !a && !b;
  return std::bit_cast<uint32_t>(*a) == std::bit_cast<uint32_t>(*b);
}

// Only plain fake quantization with one range depends on nothing but the parameters and that range.
bool shares(const TensorQuantizer& quantizer) {
  const at::Tensor& amax = quantizer.amax();
  const bool one_range =
      amax.defined() ? amax.dim() == 0 && amax.scalar_type() == at::kFloat : !quantizer.axis();
  return !quantizer.disabled() && quantizer.if_quant() && !quantizer.if_calib() && !quantizer.if_clip() &&
         !quantizer.learn_amax() && quantizer.fake_quant() && !quantizer.scale_amax() && one_range;
}

/// Ranges that lie on a device, as the host has read them: it waits for the device
/// again only when one has changed.
class ReadRanges {
 public:
  float of(const at::Tensor& amax) {
    const auto version = static_cast<uint32_t>(amax._version());
    const std::lock_guard lock(mutex_);
    const auto found = values_.find(amax.unsafeGetTensorImpl());
    if (found != values_.end() && found->second.version == version) return found->second.value;
    std::erase_if(values_, [](const auto& item) { return item.second.tensor.expired(); });
    const float value = amax.item<float>();
    values_.insert_or_assign(amax.unsafeGetTensorImpl(),
                             Entry{WeakTensor(amax.getIntrusivePtr()), version, value});
    return value;
  }

 private:
  using WeakTensor = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;
  struct Entry {
    WeakTensor tensor;  // keeps the key's address from being given to another tensor
    uint32_t version;
    float value;
  };

  std::mutex mutex_;
  std::unordered_map<const c10::TensorImpl*, Entry> values_;
};

float value_of(const at::Tensor& amax) {
  if (amax.device().is_cpu() || amax.is_inference()) return amax.item<float>();
  static ReadRanges ranges;
  return ranges.of(amax);
}

}  // namespace

at::Tensor SharedInput::quantize(TensorQuantizer& quantizer, quant::Arithmetic arithmetic) {
  const QuantCall call{arithmetic, /*may_overwrite=*/false};
  if (!shares(quantizer)) return quantizer.forward(x_, call);
  const quant::QuantParams params = quantizer.params(arithmetic);
  const std::optional<float> amax =
      quantizer.has_amax() ? std::optional<float>(value_of(quantizer.amax())) : std::nullopt;
  for (const Result& result : results_) {
    if (same_params(result.params, params) && same_bits(result.amax, amax)) return result.value;
  }
  results_.push_back({params, amax, quantizer.forward(x_, call)});
  return results_.back().value;
}

}  // namespace qdqbert::nn
