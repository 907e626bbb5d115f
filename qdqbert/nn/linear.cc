#include "qdqbert/nn/linear.h"

#include <ostream>

#include "qdqbert/base/error.h"
#include "qdqbert/nn/autocast.h"

namespace qdqbert::nn {
namespace {

at::Tensor kept(const at::Tensor& tensor, int64_t dim, const at::Tensor& indices) {
  return tensor.detach().index_select(dim, indices.to(tensor.device())).contiguous();
}

// Changes the storage of a parameter without making a new one, so that optimizers and names stay.
void assign(at::Tensor& parameter, const at::Tensor& value) {
  parameter.set_data(value);
}

}  // namespace

Linear::Linear(const char* name, int64_t in_features, int64_t out_features, bool has_bias)
    : torch::nn::Module(name) {
  weight = register_parameter("weight", at::zeros({out_features, in_features}));
  if (has_bias) bias = register_parameter("bias", at::zeros({out_features}));
}

Linear::Linear(int64_t in_features, int64_t out_features, bool has_bias)
    : Linear("Linear", in_features, out_features, has_bias) {}

Linear::Linear(const at::Tensor& shared_weight, const at::Tensor& shared_bias) : torch::nn::Module("Linear") {
  weight = register_parameter("weight", shared_weight);
  if (shared_bias.defined()) bias = register_parameter("bias", shared_bias);
}

at::Tensor Linear::forward(const at::Tensor& x, const QuantCall&) {
  if (!HalfAutocast::is_on()) return nn::linear(x, weight, bias);
  const ProductsInFloat32 exact;
  return nn::linear(x.to(weight.scalar_type()), weight, bias, /*may_round=*/false);
}

void Linear::keep_rows(const at::Tensor& rows) {
  assign(weight, kept(weight, 0, rows));
  if (bias.defined()) assign(bias, kept(bias, 0, rows));
}

void Linear::keep_columns(const at::Tensor& columns) {
  assign(weight, kept(weight, 1, columns));
}

void Linear::pretty_print(std::ostream& stream) const {
  stream << "Linear(in_features=" << in_features() << ", out_features=" << out_features()
         << ", bias=" << (bias.defined() ? "True" : "False") << ")";
}

QuantLinear::QuantLinear(int64_t in_features, int64_t out_features, bool has_bias,
                         const QuantDefaults& descriptors)
    : Linear("QuantLinear", in_features, out_features, has_bias) {
  if (!descriptors.input.fake_quant || !descriptors.weight.fake_quant) {
    fail("[quantized linear] only fake quantization is supported, a descriptor asks for real quantization");
  }
  input_quantizer_ =
      register_module("_input_quantizer", std::make_shared<TensorQuantizer>(descriptors.input));
  weight_quantizer_ =
      register_module("_weight_quantizer", std::make_shared<TensorQuantizer>(descriptors.weight));
}

bool QuantLinear::WeightKey::operator==(const WeightKey& other) const {
  return weight == other.weight && amax == other.amax && weight_version == other.weight_version &&
         amax_version == other.amax_version && params.num_bits == other.params.num_bits &&
         params.is_unsigned == other.params.is_unsigned && params.narrow_range == other.params.narrow_range &&
         params.arithmetic == other.params.arithmetic && marked == other.marked;
}

std::optional<QuantLinear::WeightKey> QuantLinear::weight_key(const QuantCall& call) const {
  const TensorQuantizer& quantizer = *weight_quantizer_;
  const at::Tensor& amax = quantizer.amax();
  const bool versioned = !weight.is_inference() && !(amax.defined() && amax.is_inference());
  const bool has_kernels = has_marked_kernels(weight, amax.defined() ? amax : weight);
  if (!quantizer.is_plain() || !versioned || !has_kernels) return std::nullopt;
  return WeightKey{weight.data_ptr(),
                   amax.defined() ? amax.data_ptr() : nullptr,
                   static_cast<uint32_t>(weight._version()),
                   amax.defined() ? static_cast<uint32_t>(amax._version()) : 0,
                   quantizer.params(call.arithmetic),
                   at::GradMode::is_enabled() && weight.requires_grad()};
}

PreparedWeight& QuantLinear::prepared_weight(const WeightKey& key, const QuantCall& call) {
  // Marks more than asked for do no harm.
  WeightKey marked = key;
  marked.marked = true;
  if (cached_key_ == key || cached_key_ == marked) return cached_weight_;
  if (key.marked) {
    MarkedQuantized result = weight_quantizer_->forward_marked(weight, call.arithmetic);
    cached_weight_ = {result.values, result.passes, {}};
  } else {
    cached_weight_ = {
        weight_quantizer_->forward(weight.detach(), {call.arithmetic, /*may_overwrite=*/false}), {}, {}};
  }
  cached_key_ = key;
  return cached_weight_;
}

at::Tensor QuantLinear::quantized_weight(const QuantCall& call) {
  const std::optional<WeightKey> key = weight_key(call);
  if (key && !key->marked) return prepared_weight(*key, call).values;
  return weight_quantizer_->forward(weight, {call.arithmetic, /*may_overwrite=*/false});
}

at::Tensor QuantLinear::forward(const at::Tensor& x, const QuantCall& call) {
  return forward_quantized(input_quantizer_->forward(x, call), call);
}

at::Tensor QuantLinear::forward_quantized(const at::Tensor& quantized_x, const QuantCall& call) {
  const std::optional<WeightKey> key = weight_key(call);
  if (!key || !can_prepare(quantized_x, weight, bias)) {
    return nn::linear(quantized_x, quantized_weight(call), bias);
  }
  return linear_prepared(quantized_x, weight, prepared_weight(*key, call), bias, /*may_round=*/true);
}

void QuantLinear::keep_rows(const at::Tensor& rows) {
  const int64_t before = out_features();
  Linear::keep_rows(rows);
  const at::Tensor& amax = weight_quantizer_->amax();
  if (amax.defined() && amax.dim() == 2 && amax.size(0) == before)
    weight_quantizer_->replace_amax(kept(amax, 0, rows));
}

void QuantLinear::pretty_print(std::ostream& stream) const {
  stream << "QuantLinear(in_features=" << in_features() << ", out_features=" << out_features()
         << ", bias=" << (bias.defined() ? "True" : "False") << ")";
}

}  // namespace qdqbert::nn
