#include "qdqbert/nn/tensor_quantizer.h"

#include <limits>
#include <ostream>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/nn/autocast.h"

namespace qdqbert::nn {
namespace {

Shape shape_of(const at::Tensor& tensor) {
  return tensor.sizes().vec();
}

std::string short_amax(const at::Tensor& amax) {
  if (!amax.defined()) return "dynamic";
  if (amax.numel() == 1) return fmt::format("{:.4f}", amax.item<double>());
  return fmt::format("[{:.4f}, {:.4f}]({})", amax.min().item<double>(), amax.max().item<double>(),
                     amax.numel());
}

// The message of a part that does not know which quantizer it serves, with that quantizer as subject.
std::string with_subject(const std::string& label, const std::string& message) {
  const size_t end = message.starts_with('[') ? message.find("] ") : std::string::npos;
  return fmt::format("[{}] {}", label, end == std::string::npos ? message : message.substr(end + 2));
}

}  // namespace

TensorQuantizer::TensorQuantizer(const quant::QuantDescriptor& descriptor, QuantizerFlags flags)
    : torch::nn::Module("TensorQuantizer"),
      num_bits_(descriptor.num_bits),
      fake_quant_(descriptor.fake_quant),
      learn_amax_(descriptor.learn_amax),
      is_unsigned_(descriptor.is_unsigned),
      narrow_range_(descriptor.narrow_range),
      axis_(descriptor.axis),
      scale_amax_(descriptor.scale_amax),
      disabled_(flags.disabled),
      if_quant_(flags.if_quant),
      if_clip_(false),
      if_calib_(flags.if_calib),
      amax_(register_buffer("_amax", at::Tensor())) {
  descriptor.validate();
  if (fake_quant_) scale_ = at::ones({});
  if (descriptor.amax) replace_amax(to_tensor(*descriptor.amax));
  if (learn_amax_) {
    if (descriptor.amax && descriptor.amax->values.size() != 1) {
      fail("[quantizer] a learned range must be a scalar, got {} values", descriptor.amax->values.size());
    }
    const double start = descriptor.amax ? descriptor.amax->values[0] : 1.0;
    clip_ = register_module("clip", std::make_shared<Clip>(-start, start, true, true));
    enable_clip();
  }
  if (flags.if_clip) enable_clip();
  calibrator_ = quant::make_calibrator(descriptor);
}

quant::QuantParams TensorQuantizer::params(quant::Arithmetic arithmetic) const {
  return {num_bits_, is_unsigned_, narrow_range_, arithmetic};
}

at::Tensor TensorQuantizer::amax_for(const at::Tensor& x) const {
  at::Tensor range = amax_;
  if (!range.defined()) range = dynamic_amax(x, axis_ ? axis_->dims : std::vector<int>{});
  range = range.detach();
  return scale_amax_ ? range * *scale_amax_ : range;
}

void TensorQuantizer::set_amax(const at::Tensor& value) {
  if (!value.defined()) {
    log_warning("[quantizer] {}: setting no range changes nothing", label_);
    return;
  }
  if (!amax_.defined()) return replace_amax(value);
  if (!amax_.sizes().equals(value.sizes())) {
    fail("[{}] a range of shape {} cannot take one of shape {}", label_.empty() ? "quantizer" : label_,
         qdqbert::to_string(shape_of(amax_)), qdqbert::to_string(shape_of(value)));
  }
  const at::NoGradGuard no_grad;
  amax_.copy_(value);
}

void TensorQuantizer::replace_amax(const at::Tensor& value) {
  amax_ = value.defined() ? value.detach().clone() : at::Tensor();
}

at::Tensor TensorQuantizer::step_size() const {
  return amax_.defined() ? amax_ / max_bound() : at::Tensor();
}

void TensorQuantizer::enable_calib() {
  if (!calibrator_) fail<UsageError>("[{}] calibration needs a calibrator and there is none", label_);
  if_calib_ = true;
}

void TensorQuantizer::enable_clip() {
  if (!clip_) fail("[quantizer] {}: clipping needs a learned range (learn_amax)", label_);
  if_clip_ = true;
}

void TensorQuantizer::disable_clip() {
  if (!clip_) fail("[quantizer] {}: there is no clipping to disable without a learned range", label_);
  if_clip_ = false;
}

void TensorQuantizer::load_calib_amax(const quant::AmaxRequest& request, bool strict) {
  const std::string subject = label_.empty() ? "quantizer" : label_;
  if (!calibrator_) fail<UsageError>("[{}] no calibrator was created", subject);
  const std::optional<quant::FloatArray> computed = calibrator_->compute_amax(request);
  at::Tensor value;
  if (computed) {
    value = to_tensor(*computed);
  } else if (strict) {
    fail("[{}] the calibrator has not seen any tensor, so there is no range to load", subject);
  } else {
    log_warning("[quantizer] {}: the calibrator has not seen any tensor; the range becomes NaN", label_);
    value = at::scalar_tensor(std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  }
  if (!amax_.defined()) return replace_amax(value.to(collected_on_));
  if (!at::is_expandable_to(value.sizes(), amax_.sizes())) {
    fail("[{}] the stored range has shape {}, the calibrated one {}", subject,
         qdqbert::to_string(shape_of(amax_)), qdqbert::to_string(shape_of(value)));
  }
  const at::NoGradGuard no_grad;
  amax_.copy_(value);
}

void TensorQuantizer::init_learn_amax() {
  if (!clip_) fail("[quantizer] {}: a learned range cannot start without learn_amax", label_);
  if (!amax_.defined()) fail("[quantizer] {}: a learned range cannot start from a dynamic one", label_);
  if (amax_.numel() != 1)
    log_warning("[quantizer] {}: the learned range starts at the largest of several", label_);
  const at::NoGradGuard no_grad;
  const at::Tensor largest = amax_.max();
  clip_->clip_value_min.copy_(-largest);
  clip_->clip_value_max.copy_(largest);
}

void TensorQuantizer::collect(const at::Tensor& x) {
  collected_on_ = x.device();
  const at::Tensor values = x.detach().to(at::kCPU, at::kFloat).contiguous();
  calibrator_->collect({values.data_ptr<float>(), static_cast<size_t>(values.numel())}, shape_of(values));
}

at::Tensor TensorQuantizer::quantize(const at::Tensor& x, const QuantCall& call) {
  at::Tensor in = HalfAutocast::is_on() ? x.to(at::kFloat) : x, range;
  if (clip_) {
    in = clip_->forward(in);
    range = at::maximum(-clip_->clip_value_min, clip_->clip_value_max).detach();
  } else {
    // A range given as a number lies on the CPU until its first use.
    if (amax_.defined() && amax_.device() != in.device()) amax_ = amax_.to(in.device());
    range = amax_for(in);
  }
  if (fake_quant_) return fake_quantize(in, range, params(call.arithmetic), call.may_overwrite || clip_);
  quant::QuantParams narrow = params(quant::Arithmetic::kToolkit);
  narrow.narrow_range = true;
  const Quantized result = tensor_quantize(in, range, narrow);
  scale_ = result.scale;
  return result.values;
}

at::Tensor TensorQuantizer::forward(const at::Tensor& x, const QuantCall& call) {
  if (disabled_) return x;
  try {
    if (if_calib_) {
      if (!calibrator_) fail<UsageError>("[quantizer] calibration needs a calibrator and there is none");
      collect(x);
    }
    if (if_quant_) return quantize(x, call);
    if (if_clip_) return clip_->forward(x);
    return x;
  } catch (const InputError& error) {
    if (label_.empty()) throw;
    throw InputError(with_subject(label_, error.what()));
  }
}

MarkedQuantized TensorQuantizer::forward_marked(const at::Tensor& x, quant::Arithmetic arithmetic) {
  try {
    return fake_quantize_marked(x, amax_for(x), params(arithmetic));
  } catch (const InputError& error) {
    if (label_.empty()) throw;
    throw InputError(with_subject(label_, error.what()));
  }
}

std::string TensorQuantizer::extra_repr() const {
  if (disabled_) return "disabled";
  std::string text = fmt::format("{}{}bit", is_unsigned_ ? "unsigned " : "", num_bits_);
  if (narrow_range_) text += " narrow";
  if (fake_quant_) text += " fake";
  text += axis_ ? " axis=" + quant::text_of(*axis_) : " per-tensor";
  text += " amax=" + short_amax(amax_);
  if (scale_amax_ && *scale_amax_ != 0) text += fmt::format(" *{}", dump_json(*scale_amax_));
  if (learn_amax_) text += " learned";
  if (calibrator_) text += " calibrator=" + calibrator_->class_name();
  if (fake_quant_) {
    text += " scale=1.0";
  } else if (scale_.defined()) {
    text += " scale=" + (scale_.dim() == 0 ? dump_json(scale_.item<double>()) : short_amax(scale_));
  }
  if (if_quant_) text += " quant";
  if (if_clip_) text += " clip";
  if (if_calib_) text += " calib";
  return text;
}

std::string TensorQuantizer::to_string() const {
  if (!clip_) return fmt::format("TensorQuantizer({})", extra_repr());
  return fmt::format("TensorQuantizer(\n  {}\n  (clip): Clip()\n)", extra_repr());
}

void TensorQuantizer::pretty_print(std::ostream& stream) const {
  stream << to_string();
}

}  // namespace qdqbert::nn
