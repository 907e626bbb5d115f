#include "qdqbert/onnx/bert_layers.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "qdqbert/base/error.h"

namespace qdqbert::onnx {
namespace {

/// At or below this range the toolkit's output is 0.
constexpr float kZeroRange = 0x1p-24f;

void check_shape(const std::string& key, const TensorView& tensor, const Shape& expected) {
  if (tensor.dtype != DType::kF32 || tensor.shape != expected)
    fail("[onnx export] {} has shape {} of {}, the model needs {} of F32", key, to_string(tensor.shape),
         name_of(tensor.dtype), to_string(expected));
}

std::vector<float> transposed(const TensorView& weight) {
  const int64_t rows = weight.shape[0], columns = weight.shape[1];
  const std::vector<float> values = to_float32(weight);
  std::vector<float> result(values.size());
  constexpr int64_t kBlock = 32;  // both sides of a block fit the first-level cache
  for (int64_t r0 = 0; r0 < rows; r0 += kBlock)
    for (int64_t c0 = 0; c0 < columns; c0 += kBlock)
      for (int64_t r = r0; r < std::min(rows, r0 + kBlock); ++r)
        for (int64_t c = c0; c < std::min(columns, c0 + kBlock); ++c)
          result[c * rows + r] = values[r * columns + c];
  return result;
}

/// What QuantizeLinear makes of a weight [in, out] with one scale, or one for each output:
/// division, ties to even, saturation.
OwnedTensor quantized_codes(const std::vector<float>& weight, const Shape& shape,
                            const std::vector<float>& scales) {
  OwnedTensor codes{DType::kI8, shape, std::vector<std::byte>(weight.size())};
  const size_t outputs = static_cast<size_t>(shape[1]);
  for (size_t i = 0; i < weight.size(); ++i) {
    const float scale = scales.size() == 1 ? scales[0] : scales[i % outputs];
    const float code = std::clamp(std::nearbyint(weight[i] / scale), -128.0f, 127.0f);
    codes.data[i] = static_cast<std::byte>(static_cast<int8_t>(code));
  }
  return codes;
}

/// Moves weights that lie on a rounding tie by the last bit, so that QuantizeLinear's division finds the code
/// that the toolkit's product x * (127 / amax) found when the model was calibrated and scored. Half-precision
/// weights lie on ties of their largest magnitude often enough to change answers.
void settle_ties(std::vector<float>& weight, const std::vector<float>& amax,
                 const std::vector<float>& scales) {
  const auto code = [](float quotient) { return std::clamp(std::nearbyint(quotient), -128.0f, 127.0f); };
  for (size_t i = 0; i < weight.size(); ++i) {
    const size_t channel = i % scales.size();
    if (amax[channel] <= kZeroRange) continue;
    const float wanted = code(weight[i] * (127.0f / amax[channel])),
                found = code(weight[i] / scales[channel]);
    if (wanted == found) continue;
    float moved = weight[i];
    for (int bits = 0; bits < 4 && code(moved / scales[channel]) != wanted; ++bits)
      moved = std::nextafter(moved, wanted > found ? HUGE_VALF : -HUGE_VALF);
    if (code(moved / scales[channel]) == wanted) weight[i] = moved;
  }
}

}  // namespace

BertWriter::BertWriter(const BertSource& source, const BertGraphOptions& options)
    : source_(source),
      options_(options),
      graph_(options.opset, "qdqbert"),
      float_type_(options.opset >= 19 ? DType::kF16 : DType::kF32) {}

Value BertWriter::number(double value) {
  return graph_.scalar(static_cast<float>(value), float_type_);
}

void BertWriter::check_finite_half(const std::string& key, const OwnedTensor& tensor) const {
  if (tensor.dtype != DType::kF16) return;
  for (size_t i = 0; i < tensor.data.size(); i += 2) {
    uint16_t bits;
    std::memcpy(&bits, tensor.data.data() + i, 2);
    if ((bits & 0x7c00) == 0x7c00)
      fail("[onnx export] {} has values beyond half precision, which opset {} is written in", key,
           options_.opset);
  }
}

Value BertWriter::parameter(const std::string& key) {
  if (graph_.has_initializer(key)) return key;
  const TensorView tensor = source_.weight(key);
  OwnedTensor stored = float_tensor(to_float32(tensor), tensor.shape, float_type_);
  check_finite_half(key, stored);
  return graph_.initializer(key, std::move(stored));
}

QuantizerRange BertWriter::checked_range(const Scope& scope) const {
  QuantizerRange range = source_.quantizer(scope.key);
  if (!range.enabled) return range;
  if (range.num_bits != 8 || range.is_unsigned || range.narrow_range)
    fail("[onnx export] {} quantizes to {} bits{}{}; a Q/DQ pair holds 8 bits, signed, of the full range",
         scope.key, range.num_bits, range.is_unsigned ? ", unsigned" : "",
         range.narrow_range ? ", of the narrow range" : "");
  if (range.amax.empty())
    fail("[onnx export] {} has no range; calibrate the model first, or give a sample batch", scope.key);
  for (float amax : range.amax)
    if (!(amax >= 0) || !std::isfinite(amax))
      fail("[onnx export] {} has the range {}, which is no finite magnitude", scope.key, amax);
  return range;
}

std::vector<float> BertWriter::scales_of(const Scope& scope, const QuantizerRange& range,
                                         double range_divisor) const {
  const bool half = float_type_ == DType::kF16;
  const float smallest = half ? 0x1p-24f : std::numeric_limits<float>::min();
  std::vector<float> scales;
  for (float amax : range.amax) {
    float scale = static_cast<float>(static_cast<double>(amax) / 127.0 / range_divisor);
    if (half) scale = half_to_float(float_to_half(scale));
    if (amax <= kZeroRange) scale = smallest;
    if (scale == 0 || !std::isfinite(scale))
      fail(
          "[onnx export] {}: the scale of range {} does not fit half precision, which opset {} is written in",
          scope.key, amax, options_.opset);
    scales.push_back(scale);
  }
  return scales;
}

Value BertWriter::quantize(const Scope& scope, const Value& x, double range_divisor) {
  const QuantizerRange range = checked_range(scope);
  if (!range.enabled) return x;
  if (range.per_channel || range.amax.size() != 1)
    fail("[onnx export] {} has {} ranges; an activation is quantized with one for the whole tensor",
         scope.key, range.amax.size());
  const std::vector<float> scales = scales_of(scope, range, range_divisor);
  const auto [entry, is_new] = quantized_.try_emplace({x, scales});
  if (is_new) {
    const Value scale = graph_.initializer(scope.key + ".scale", float_tensor(scales, {}, float_type_));
    const Value zero = graph_.zero_points(1, true);
    const Value codes = graph_.node("QuantizeLinear", scope.path, {x, scale, zero});
    entry->second = graph_.node("DequantizeLinear", scope.path, {codes, scale, zero});
  }
  return entry->second;
}

Value BertWriter::quantized_weight(const Scope& scope, int64_t rows, int64_t columns) {
  const std::string key = scope.key + ".weight";
  const TensorView tensor = source_.weight(key);
  check_shape(key, tensor, {rows, columns});
  std::vector<float> values = transposed(tensor);
  const Shape shape = {columns, rows};
  const Scope quantizer = scope.child("_weight_quantizer");
  const QuantizerRange range = checked_range(quantizer);
  const auto add_float = [&] {
    OwnedTensor stored = float_tensor(values, shape, float_type_);
    check_finite_half(key, stored);
    return graph_.initializer(key, std::move(stored));
  };
  if (!range.enabled) return add_float();
  if (range.per_channel && static_cast<int64_t>(range.amax.size()) != rows)
    fail("[onnx export] {} has {} ranges, its weight has {} outputs", quantizer.key, range.amax.size(), rows);
  if (!range.per_channel && range.amax.size() != 1)
    fail("[onnx export] {} has {} ranges, one is needed for a whole tensor", quantizer.key,
         range.amax.size());
  const std::vector<float> scales = scales_of(quantizer, range, 1.0);
  if (float_type_ == DType::kF32) settle_ties(values, range.amax, scales);
  const Value zero = graph_.zero_points(range.per_channel ? rows : 1, !range.per_channel);
  const Value scale = graph_.initializer(
      quantizer.key + ".scale", float_tensor(scales, range.per_channel ? Shape{rows} : Shape{}, float_type_));
  std::vector<Attribute> axis;
  if (range.per_channel) axis.push_back({"axis", int64_t{1}});
  const Value codes = options_.int8_weights
                          ? graph_.initializer(key, quantized_codes(values, shape, scales))
                          : graph_.node("QuantizeLinear", quantizer.path, {add_float(), scale, zero}, axis);
  return graph_.node("DequantizeLinear", quantizer.path, {codes, scale, zero}, axis);
}

Value BertWriter::bias_and_matmul(const Scope& scope, const Value& x, const Value& weight,
                                  const std::string& bias_key) {
  const Value product = graph_.node("MatMul", scope.path, {x, weight});
  return graph_.node("Add", scope.path, {product, parameter(bias_key)});
}

Value BertWriter::quant_linear(const Scope& scope, const Value& x) {
  const TensorView weight = source_.weight(scope.key + ".weight");
  if (weight.shape.size() != 2)
    fail("[onnx export] {}.weight has shape {}, a matrix is needed", scope.key, to_string(weight.shape));
  const Value input = quantize(scope.child("_input_quantizer"), x);
  return bias_and_matmul(scope, input, quantized_weight(scope, weight.shape[0], weight.shape[1]),
                         scope.key + ".bias");
}

Value BertWriter::float_linear(const Scope& scope, const Value& x) {
  const std::string key = scope.key + ".weight";
  const TensorView weight = source_.weight(key);
  if (weight.shape.size() != 2)
    fail("[onnx export] {} has shape {}, a matrix is needed", key, to_string(weight.shape));
  OwnedTensor stored = float_tensor(transposed(weight), {weight.shape[1], weight.shape[0]}, float_type_);
  check_finite_half(key, stored);
  return bias_and_matmul(scope, x, graph_.initializer(key, std::move(stored)), scope.key + ".bias");
}

Value BertWriter::embedding(const Scope& scope, const Value& ids) {
  return graph_.node("Gather", scope.path, {parameter(scope.key + ".weight"), ids});
}

Value BertWriter::activation(const Scope& scope, const Value& x) {
  return apply_activation(graph_, source_.activation, scope.path, x, float_type_);
}

Value BertWriter::layer_norm(const Scope& scope, const Value& x) {
  const Value weight = parameter(scope.key + ".weight"), bias = parameter(scope.key + ".bias");
  const auto eps = static_cast<float>(source_.layer_norm_eps);
  if (options_.opset >= 17)
    return graph_.node("LayerNormalization", scope.path, {x, weight, bias},
                       {{"axis", int64_t{-1}}, {"epsilon", eps}});
  const std::vector<Attribute> last_axis = {{"axes", std::vector<int64_t>{-1}}, {"keepdims", int64_t{1}}};
  const Value mean = graph_.node("ReduceMean", scope.path, {x}, last_axis);
  const Value centred = graph_.node("Sub", scope.path, {x, mean});
  const Value square = graph_.node("Pow", scope.path, {centred, number(2.0)});
  const Value variance = graph_.node("ReduceMean", scope.path, {square}, last_axis);
  const Value shifted = graph_.node("Add", scope.path, {variance, number(source_.layer_norm_eps)});
  const Value deviation = graph_.node("Sqrt", scope.path, {shifted});
  const Value normal = graph_.node("Div", scope.path, {centred, deviation});
  return graph_.node("Add", scope.path, {graph_.node("Mul", scope.path, {normal, weight}), bias});
}

Value BertWriter::split_heads(const Scope& scope, const Value& x, int64_t heads,
                              const std::vector<int64_t>& order) {
  const Value shape = graph_.integers({0, 0, heads, source_.head_size});
  return graph_.node("Transpose", scope.path, {graph_.node("Reshape", scope.path, {x, shape})},
                     {{"perm", order}});
}

Value BertWriter::relative_scores(const Scope& scope, Value scores, const Value& q, const Value& k,
                                  const Value& distance_index, double q_scale) {
  const Value distances = embedding(scope.child("distance_embedding"), distance_index);
  const Value by_query =
      graph_.node("Einsum", scope.path, {q, distances}, {{"equation", std::string("bhld,lrd->bhlr")}});
  scores = graph_.node("Add", scope.path, {scores, by_query});
  if (source_.positions != GraphPositions::kRelativeKeyQuery) return scores;
  Value by_key =
      graph_.node("Einsum", scope.path, {k, distances}, {{"equation", std::string("bhrd,lrd->bhlr")}});
  if (q_scale != 1.0) by_key = graph_.node("Mul", scope.path, {by_key, number(q_scale)});
  return graph_.node("Add", scope.path, {scores, by_key});
}

Value BertWriter::attention(const Scope& scope, const Value& x, const Value& states, const Value& mask,
                            const Value& distance_index, const CacheValues& past, CacheValues* present) {
  const Shape& query_shape = source_.weight(scope.key + ".query.weight").shape;
  if (query_shape.size() != 2 || query_shape[0] % source_.head_size != 0)
    fail("[onnx export] {}.query.weight of shape {} holds no whole number of heads of size {}", scope.key,
         to_string(query_shape), source_.head_size);
  const int64_t heads = query_shape[0] / source_.head_size;
  const double root = std::sqrt(static_cast<double>(source_.head_size));
  const double q_divisor = options_.trt_attention ? root : 1.0;
  const std::vector<int64_t> by_head = {0, 2, 1, 3};

  const Value query = quant_linear(scope.child("query"), x);
  const bool relative = !distance_index.empty();
  Value k_transposed, k, v;
  if (states.empty()) {
    k = past.key;
    v = past.value;
    k_transposed = graph_.node("Transpose", scope.path, {k}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
    if (present != nullptr) *present = past;
  } else {
    const Value key = quant_linear(scope.child("key"), states);
    const Value value = quant_linear(scope.child("value"), states);
    if (past.key.empty()) k_transposed = split_heads(scope, key, heads, {0, 2, 3, 1});
    if (present != nullptr || !past.key.empty() ||
        (relative && source_.positions == GraphPositions::kRelativeKeyQuery))
      k = split_heads(scope, key, heads, by_head);
    v = split_heads(scope, value, heads, by_head);
    if (!past.key.empty()) {
      k = graph_.node("Concat", scope.path, {past.key, k}, {{"axis", int64_t{2}}});
      v = graph_.node("Concat", scope.path, {past.value, v}, {{"axis", int64_t{2}}});
      k_transposed = graph_.node("Transpose", scope.path, {k}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
    }
    if (present != nullptr) *present = {k, v};
  }
  Value q = split_heads(scope, query, heads, by_head);
  if (options_.trt_attention) q = graph_.node("Mul", scope.path, {q, number(1.0 / root)});

  Value scores = graph_.node("MatMul", scope.path,
                             {quantize(scope.child("matmul_q_input_quantizer"), q, q_divisor),
                              quantize(scope.child("matmul_k_input_quantizer"), k_transposed)});
  if (relative) scores = relative_scores(scope, scores, q, k, distance_index, 1.0 / q_divisor);
  if (!options_.trt_attention) scores = graph_.node("Div", scope.path, {scores, number(root)});
  scores = graph_.node("Add", scope.path, {scores, mask});
  const Value probabilities = graph_.node("Softmax", scope.path, {scores}, {{"axis", int64_t{-1}}});
  const Value context = graph_.node("MatMul", scope.path,
                                    {quantize(scope.child("matmul_a_input_quantizer"), probabilities),
                                     quantize(scope.child("matmul_v_input_quantizer"), v)});
  const Value merged =
      graph_.node("Transpose", scope.path, {context}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  return graph_.node("Reshape", scope.path, {merged, graph_.integers({0, 0, heads * source_.head_size})});
}

Value BertWriter::residual_output(const Scope& scope, const Value& x, const Value& residual) {
  const Value local = quant_linear(scope.child("dense"), x);
  const Value sum = graph_.node("Add", scope.path,
                                {quantize(scope.child("add_local_input_quantizer"), local),
                                 quantize(scope.child("add_residual_input_quantizer"), residual)});
  return layer_norm(scope.child("LayerNorm"), sum);
}

Value BertWriter::layer(const Scope& scope, const Value& x, const LayerContext& context,
                        const LayerCache& past, LayerCache* present) {
  const Scope self = scope.child("attention");
  const Value seen = attention(self.child("self"), x, x, context.mask, context.distance_index, past.self,
                               present ? &present->self : nullptr);
  Value attended = residual_output(self.child("output"), seen, x);
  if (source_.cross_attention) {
    const Scope cross = scope.child("crossattention");
    const Value read =
        attention(cross.child("self"), attended, context.encoder_states, context.encoder_mask,
                  context.encoder_distance_index, past.cross, present ? &present->cross : nullptr);
    attended = residual_output(cross.child("output"), read, attended);
  }
  const Scope intermediate = scope.child("intermediate");
  const Value wide = quant_linear(intermediate.child("dense"), attended);
  const Value activated = activation(intermediate.child("intermediate_act_fn"), wide);
  return residual_output(scope.child("output"), activated, attended);
}

}  // namespace qdqbert::onnx
