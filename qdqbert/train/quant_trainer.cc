#include "qdqbert/train/quant_trainer.h"

#include <algorithm>
#include <regex>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"

namespace qdqbert::train {

namespace {

constexpr std::string_view kMethodNames[] = {"max", "percentile", "mse", "entropy"};

std::regex compile(const std::string& pattern, std::string_view flag) {
  try {
    return std::regex(pattern);
  } catch (const std::regex_error& error) {
    fail<UsageError>("[{}] \"{}\" is not a regular expression: {}", flag, pattern, error.what());
  }
}

/// The name of the module that holds a quantizer, "" unless it is a quantized linear layer's.
std::string linear_of(const std::string& quantizer) {
  for (const std::string_view child : {"._input_quantizer", "._weight_quantizer"})
    if (quantizer.ends_with(child)) return quantizer.substr(0, quantizer.size() - child.size());
  return "";
}

/// Sets the disabled flag of every quantizer whose own name, or whose linear layer's name, matches any of the
/// patterns, in module order.
void set_disabled(const std::vector<model::NamedQuantizer>& quantizers,
                  const std::vector<std::regex>& patterns, bool disabled) {
  const std::string_view word = disabled ? "True" : "False";
  const auto set = [&](nn::TensorQuantizer& quantizer) {
    disabled ? quantizer.disable() : quantizer.enable();
  };
  for (size_t i = 0; i < quantizers.size(); ++i) {
    const std::string linear = linear_of(quantizers[i].name);
    if (!linear.empty() && quantizers[i].name.ends_with("._input_quantizer"))
      for (const std::regex& pattern : patterns)
        if (std::regex_search(linear, pattern)) {
          log_debug("Warning: changing both quantizers of {:70} _disabled={}", linear, word);
          set(*quantizers[i].quantizer);
          set(*quantizers.at(i + 1).quantizer);
        }
    for (const std::regex& pattern : patterns)
      if (std::regex_search(quantizers[i].name, pattern)) {
        log_debug("Warning: changing {:50} _disabled={}", quantizers[i].name, word);
        set(*quantizers[i].quantizer);
      }
  }
}

nn::TensorQuantizer& find(const std::vector<model::NamedQuantizer>& quantizers, const std::string& name) {
  const auto found =
      std::find_if(quantizers.begin(), quantizers.end(), [&](const auto& item) { return item.name == name; });
  if (found == quantizers.end()) fail<Error>("[quantizers] there is no quantizer {}", name);
  return *found->quantizer;
}

/// Sets all three ranges to the largest of them.
void fuse_three(nn::TensorQuantizer& q, nn::TensorQuantizer& k, nn::TensorQuantizer& v,
                const std::string& what) {
  if (!q.has_amax() || !k.has_amax() || !v.has_amax()) {
    log_warning("{} is not fused: a range is missing, calibrate first", what);
    return;
  }
  for (const nn::TensorQuantizer* quantizer : {&q, &k, &v})
    if (quantizer->amax().numel() != 1)
      fail<UsageError>(
          "[fuse-qkv] {}: the weight ranges are per channel; "
          "add --recalibrate-weights to make them per tensor",
          what);
  const double a = q.amax().item<float>(), b = k.amax().item<float>(), c = v.amax().item<float>();
  const double top = std::max({a, b, c});
  for (nn::TensorQuantizer* quantizer : {&q, &k, &v})
    quantizer->replace_amax(at::full_like(quantizer->amax(), top));
  log_info("          q={:5.2f} k={:5.2f} v={:5.2f} -> {:5.2f}", a, b, c, top);
}

std::string range_text(const at::Tensor& amax) {
  if (amax.numel() == 1) return fmt::format("{:.4f}", amax.item<float>());
  return fmt::format("[{:.4f}, {:.4f}]({})", amax.min().item<float>(), amax.max().item<float>(),
                     amax.numel());
}

}  // namespace

std::string_view name_of(CalibrationMethod method) {
  return kMethodNames[static_cast<size_t>(method)];
}

CalibrationMethod parse_calibration_method(std::string_view name) {
  for (size_t i = 0; i < std::size(kMethodNames); ++i)
    if (kMethodNames[i] == name) return static_cast<CalibrationMethod>(i);
  fail<UsageError>("[calibrator] unknown method \"{}\"; there are max, percentile, mse and entropy", name);
}

void QuantOptions::validate() const {
  for (const auto& [flag, bits] : {std::pair{"wprec", weight_bits}, std::pair{"aprec", activation_bits}})
    if (bits < 2 || bits > 16) fail<UsageError>("[{}] {} bits; 2 to 16 are possible", flag, bits);
  if (calibrator == CalibrationMethod::kPercentile && !percentile)
    fail<UsageError>("[calibrator] percentile needs --percentile P (99.999 is a good start)");
  if (percentile && (*percentile < 0 || *percentile > 100))
    fail<UsageError>("[percentile] {} is outside 0 to 100", *percentile);
  if (clip_gelu && *clip_gelu < 0) fail<UsageError>("[clip-gelu] {} is negative", *clip_gelu);
  for (const std::string& keyword : disable_keywords) compile(keyword, "quant-disable-keyword");
  if (disable_layer_module) compile("layer.\\d+." + *disable_layer_module, "quant-disable-layer-module");
  if (enable_layer_module) compile("layer.\\d+." + *enable_layer_module, "quant-enable-layer-module");
}

nn::QuantDefaults quant_defaults(const QuantOptions& options) {
  nn::QuantDefaults defaults;
  defaults.input.num_bits = static_cast<int>(options.activation_bits);
  if (options.calibrator != CalibrationMethod::kMax)
    defaults.input.calib_method = quant::CalibMethod::kHistogram;
  defaults.weight.num_bits = static_cast<int>(options.weight_bits);
  if (options.per_tensor) {
    defaults.weight.axis.reset();
  } else {
    defaults.weight.axis = quant::Axis::tuple({0});
  }
  return defaults;
}

void configure_model(model::PreTrainedModel& model, const QuantOptions& options) {
  options.validate();
  log_info("Configuring Model for Quantization");
  const std::vector<model::NamedQuantizer> quantizers = model.named_quantizers();
  if (options.disable) set_disabled(quantizers, {std::regex("")}, true);
  if (!options.disable_keywords.empty()) {
    std::vector<std::regex> patterns;
    for (const std::string& keyword : options.disable_keywords)
      patterns.push_back(compile(keyword, "quant-disable-keyword"));
    set_disabled(quantizers, patterns, true);
  }
  if (options.disable_layer_module)
    set_disabled(quantizers,
                 {compile("layer.\\d+." + *options.disable_layer_module, "quant-disable-layer-module")},
                 true);
  if (options.enable_layer_module)
    set_disabled(quantizers,
                 {compile("layer.\\d+." + *options.enable_layer_module, "quant-enable-layer-module")}, false);
  if (options.recalibrate_weights) recalibrate_weights(model);
  if (options.fuse_qkv) fuse_qkv(model, options.per_tensor);
  if (options.clip_gelu && *options.clip_gelu > 0) clip_gelu(model, *options.clip_gelu);
  if (const std::string warning = granularity_warning(model, options); !warning.empty())
    log_warning("{}", warning);
}

void fuse_qkv(model::PreTrainedModel& model, bool weights_too) {
  const std::vector<model::NamedQuantizer> quantizers = model.named_quantizers();
  constexpr std::string_view kFirst = ".attention.self.matmul_q_input_quantizer";
  for (const model::NamedQuantizer& item : quantizers) {
    if (!item.name.ends_with(kFirst)) continue;
    const std::string self =
        item.name.substr(0, item.name.size() - std::string_view(".matmul_q_input_quantizer").size());
    log_info("FUSE_QKV: {:50}", self);
    fuse_three(*item.quantizer, find(quantizers, self + ".matmul_k_input_quantizer"),
               find(quantizers, self + ".matmul_v_input_quantizer"), self);
    if (!weights_too) continue;
    fuse_three(find(quantizers, self + ".query._weight_quantizer"),
               find(quantizers, self + ".key._weight_quantizer"),
               find(quantizers, self + ".value._weight_quantizer"), self);
  }
}

void clip_gelu(model::PreTrainedModel& model, double bound) {
  for (const model::NamedLinear& item : model.named_quant_linears()) {
    if (!item.name.ends_with(".output.dense") || item.name.ends_with("attention.output.dense")) continue;
    nn::TensorQuantizer& quantizer = item.linear->input_quantizer();
    if (!quantizer.has_amax()) {
      log_warning("CLIP_GELU: {} has no range yet; the bound applies after calibration", item.name);
      continue;
    }
    const double before = quantizer.amax().item<float>();
    const double after = std::min(before, bound);
    quantizer.replace_amax(at::full_like(quantizer.amax(), after));
    log_info("CLIP_GELU: {:50} amax: {:5.2f} -> {:5.2f}", item.name, before, after);
  }
}

void recalibrate_weights(model::PreTrainedModel& model) {
  const at::NoGradGuard no_grad;
  for (const model::NamedLinear& item : model.named_quant_linears()) {
    nn::TensorQuantizer& quantizer = item.linear->weight_quantizer();
    if (!quantizer.has_amax()) {
      log_warning("RECALIB: {} has no weight range; nothing to recompute", item.name);
      continue;
    }
    const at::Tensor before = quantizer.amax();
    const at::Tensor magnitude = item.linear->weight.detach().abs();
    const at::Tensor after = quantizer.axis() ? magnitude.amax({1}, true) : magnitude.max();
    quantizer.replace_amax(after);
    log_info("RECALIB: {:50} {} -> {}", item.name, range_text(before), range_text(after));
  }
}

std::string quantizer_summary(const model::PreTrainedModel& model) {
  std::string text;
  const auto quantizers = model.named_quantizers();
  for (const model::NamedQuantizer& item : quantizers)
    text += fmt::format("{:80} {}\n", item.name, item.quantizer->to_string());
  return text + fmt::format("{} TensorQuantizers found in model\n", quantizers.size());
}

std::string granularity_warning(const model::PreTrainedModel& model, const QuantOptions& options) {
  if (!options.per_tensor) return "";
  for (const model::NamedQuantizer& item : model.named_quantizers())
    if (item.name.ends_with("_weight_quantizer") && item.quantizer->has_amax() &&
        item.quantizer->amax().numel() > 1)
      return "--quant-per-tensor has no effect on the per-channel weight ranges of this checkpoint; add "
             "--recalibrate-weights to convert them";
  return "";
}

}  // namespace qdqbert::train
