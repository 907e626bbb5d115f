#include "qdqbert/nn/part_quantizer.h"

namespace qdqbert::nn {

std::optional<PartQuantizer> PartQuantizer::of(const TensorQuantizer& quantizer,
                                               quant::Arithmetic arithmetic) {
  PartQuantizer part;
  if (quantizer.is_inert()) return part;
  const at::Tensor& amax = quantizer.amax();
  const bool one_range = amax.defined() && amax.numel() == 1 && has_marked_kernels(amax, amax);
  const quant::QuantParams params = quantizer.params(arithmetic);
  // A range that forward() refuses is left to it, and so are checks over the whole tensor.
  if (!quantizer.is_plain() || !one_range || quantizer.scale_amax() || params.is_unsigned)
    return std::nullopt;
  part.amax_ = *amax.data_ptr<float>();
  if (part.amax_ < 0) return std::nullopt;
  part.params_ = params;
  return part;
}

std::vector<double> PartQuantizer::numbers() const {
  if (!params_) return {};
  return {static_cast<double>(params_->num_bits), params_->is_unsigned ? 1.0 : 0.0,
          params_->narrow_range ? 1.0 : 0.0, static_cast<double>(params_->arithmetic),
          static_cast<double>(amax_)};
}

PartQuantizer PartQuantizer::from(const std::vector<double>& numbers) {
  PartQuantizer part;
  if (numbers.empty()) return part;
  part.params_ = quant::QuantParams{static_cast<int>(numbers[0]), numbers[1] != 0, numbers[2] != 0,
                                    static_cast<quant::Arithmetic>(static_cast<int>(numbers[3]))};
  part.amax_ = static_cast<float>(numbers[4]);
  return part;
}

void PartQuantizer::run(const float* x, size_t count, float* y, uint8_t* passes) const {
  const auto view = quant::AmaxView::per_tensor(amax_, count);
  if (passes == nullptr) {
    quant::fake_quant({x, count}, view, *params_, {y, count}, 1);
  } else {
    quant::fake_quant_marked({x, count}, view, *params_, {y, count}, {passes, (count + 7) / 8}, 1);
  }
}

}  // namespace qdqbert::nn
