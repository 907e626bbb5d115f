// The quantizer module: a range, the flags that say what happens to a tensor,
// and the calibrator that finds the range.
#pragma once

#include <memory>
#include <string>

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include "qdqbert/nn/clip.h"
#include "qdqbert/nn/fake_quantize.h"
#include "qdqbert/quant/calibrator.h"
#include "qdqbert/quant/descriptor.h"

namespace qdqbert::nn {

/// The state of a new quantizer that is not part of its descriptor.
struct QuantizerFlags {
  bool disabled = false;  ///< forward returns its input
  bool if_quant = true;   ///< quantize
  bool if_clip = false;   ///< clip to the learned range; needs learn_amax
  bool if_calib = false;  ///< feed the calibrator with the unquantized input
};

/// Toolkit release 2.1.2's TensorQuantizer. State dict: `_amax` (float32; a scalar, or the range of each kept
/// axis; absent until a range is set, calibrated or loaded) and, with learn_amax, `clip.clip_value_min`,
/// `clip.clip_value_max`. Without `_amax` every forward takes the range of its own input ("dynamic").
class TensorQuantizer : public torch::nn::Module {
 public:
  /// Throws InputError: invalid descriptor, histogram calibration with an axis, if_clip without learn_amax.
  explicit TensorQuantizer(const quant::QuantDescriptor& descriptor = {}, QuantizerFlags flags = {});

  /// As the flags say: nothing when disabled; else collects `x`, then quantizes it or, without quantization,
  /// clips it. Returns `x` itself when no stage is active. Errors name the quantizer (set_label).
  at::Tensor forward(const at::Tensor& x, const QuantCall& call = {});

  int num_bits() const { return num_bits_; }
  void set_num_bits(int bits) { num_bits_ = bits; }
  bool is_unsigned() const { return is_unsigned_; }
  void set_unsigned(bool value) { is_unsigned_ = value; }
  bool narrow_range() const { return narrow_range_; }
  void set_narrow_range(bool value) { narrow_range_ = value; }
  bool fake_quant() const { return fake_quant_; }
  bool learn_amax() const { return learn_amax_; }
  const std::optional<quant::Axis>& axis() const { return axis_; }
  std::optional<double> scale_amax() const { return scale_amax_; }
  float max_bound() const { return quant::max_bound(num_bits_, is_unsigned_); }
  quant::QuantParams params(quant::Arithmetic arithmetic) const;

  /// The stored range, an undefined tensor when there is none.
  const at::Tensor& amax() const { return amax_; }
  bool has_amax() const { return amax_.defined(); }
  /// The range that a forward over `x` uses: stored or dynamic, times scale_amax.
  at::Tensor amax_for(const at::Tensor& x) const;
  /// New buffer, or a copy into the existing one (keeping its device and type). Throws InputError when the
  /// shape differs from the existing one.
  void set_amax(const at::Tensor& value);
  void set_amax(double value) { set_amax(at::scalar_tensor(value, at::kFloat)); }
  /// Replaces the buffer whatever its shape was; an undefined tensor removes it (dynamic range again).
  void replace_amax(const at::Tensor& value);
  /// amax / B; undefined when there is no range.
  at::Tensor step_size() const;
  /// Scale of the last forward in real mode; undefined before it. 1 in fake mode.
  const at::Tensor& scale() const { return scale_; }

  bool disabled() const { return disabled_; }
  bool if_quant() const { return if_quant_; }
  bool if_clip() const { return if_clip_; }
  bool if_calib() const { return if_calib_; }
  /// Does nothing but fake-quantize with a range that is not learned.
  bool is_plain() const {
    return !disabled_ && if_quant_ && !if_calib_ && !if_clip_ && !learn_amax_ && fake_quant_;
  }
  /// What forward() gives and where its gradient passes, outside of the graph of gradients. For a plain
  /// quantizer and x with has_marked_kernels().
  MarkedQuantized forward_marked(const at::Tensor& x, quant::Arithmetic arithmetic);
  /// Passes its input through unchanged and untouched.
  bool is_inert() const { return disabled_ || (!if_quant_ && !if_clip_ && !if_calib_); }
  void disable() { disabled_ = true; }
  void enable() { disabled_ = false; }
  void disable_quant() { if_quant_ = false; }
  void enable_quant() { if_quant_ = true; }
  /// Throws UsageError without a calibrator.
  void enable_calib();
  void disable_calib() { if_calib_ = false; }
  /// Throws InputError without learn_amax. As in release 2.1.2 neither call
  /// changes whether the bounds are trained.
  void enable_clip();
  void disable_clip();

  /// nullptr when the descriptor names none.
  quant::Calibrator* calibrator() { return calibrator_.get(); }
  const quant::Calibrator* calibrator() const { return calibrator_.get(); }
  void set_calibrator(std::unique_ptr<quant::Calibrator> calibrator) { calibrator_ = std::move(calibrator); }
  /// Takes the range that the calibrator has collected; a new buffer lies on the device of the collected
  /// data. A scalar may fill an existing per-channel range. Throws UsageError: no calibrator,
  /// a request it does not know; InputError: nothing was collected (unless `strict` is false: the range
  /// becomes NaN), a shape that does not fit.
  void load_calib_amax(const quant::AmaxRequest& request = {}, bool strict = true);
  /// Starts the learned range at the stored one (its largest value).
  /// Throws InputError without learn_amax or range.
  void init_learn_amax();
  /// nullptr unless learn_amax.
  Clip* clip_module() { return clip_.get(); }

  /// Name for messages, usually the module's path.
  void set_label(std::string label) { label_ = std::move(label); }
  const std::string& label() const { return label_; }
  /// "8bit fake per-tensor amax=dynamic calibrator=MaxCalibrator scale=1.0 quant", as the toolkit prints it.
  std::string extra_repr() const;
  /// "TensorQuantizer(...)", four lines with a learned range.
  std::string to_string() const;
  void pretty_print(std::ostream& stream) const override;

 private:
  at::Tensor quantize(const at::Tensor& x, const QuantCall& call);
  void collect(const at::Tensor& x);

  int num_bits_;
  bool fake_quant_, learn_amax_, is_unsigned_, narrow_range_;
  std::optional<quant::Axis> axis_;
  std::optional<double> scale_amax_;
  bool disabled_, if_quant_, if_clip_, if_calib_;
  at::Tensor& amax_;  // the module's only buffer slot; undefined slots are no part of the state
  at::Tensor scale_;
  at::Device collected_on_ = at::kCPU;
  std::shared_ptr<Clip> clip_;
  std::unique_ptr<quant::Calibrator> calibrator_;
  std::string label_;
};

}  // namespace qdqbert::nn
