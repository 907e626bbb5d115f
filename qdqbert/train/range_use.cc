#include "qdqbert/train/range_use.h"

#include <map>

#include "qdqbert/train/device.h"

namespace qdqbert::train {

std::vector<RangeUse> range_use(model::PreTrainedModel& model, const model::ModelInputs& inputs) {
  std::map<std::string, nn::TensorQuantizer*> quantizers;
  for (const model::NamedQuantizer& item : model.named_quantizers())
    if (!item.quantizer->is_inert() && item.quantizer->has_amax())
      quantizers[item.name] = item.quantizer.get();
  std::vector<RangeUse> uses;
  model::ForwardOptions options;
  options.use_cache = false;
  options.tap = [&](const std::string& name, const at::Tensor& x) {
    const auto found = quantizers.find(name);
    if (found == quantizers.end() || x.numel() == 0) return;
    const at::Tensor magnitudes = x.detach().abs(), range = found->second->amax_for(x);
    uses.push_back({name, range.max().item<double>(), magnitudes.max().item<double>(),
                    (magnitudes > range).to(at::kDouble).mean().item<double>()});
  };
  const bool training = model.is_training();
  model.eval();
  const at::NoGradGuard no_grad;
  model.forward(to_device(inputs, device_of(model)), options);
  model.train(training);
  return uses;
}

}  // namespace qdqbert::train
