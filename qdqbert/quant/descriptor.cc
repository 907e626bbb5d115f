#include "qdqbert/quant/descriptor.h"

#include <algorithm>
#include <array>
#include <limits>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/numpy_text.h"

namespace qdqbert::quant {

namespace {

std::string double_text(double value) {
  return dump_json(Json(value), {.indent = -1});
}

Json nested(const FloatArray& array, size_t dim, size_t& next) {
  if (dim == array.shape.size()) return static_cast<double>(array.values[next++]);
  Json list = Json::array();
  for (int64_t i = 0; i < array.shape[dim]; ++i) list.push_back(nested(array, dim + 1, next));
  return list;
}

void read_nested(const Json& value, size_t depth, FloatArray& out) {
  if (!value.is_array()) {
    if (!value.is_number())
      fail("[quant_desc] amax: every value must be a number, got {}", value.type_name());
    if (depth != out.shape.size())
      fail("[quant_desc] amax: lists are nested {} and {} deep", depth, out.shape.size());
    out.values.push_back(static_cast<float>(value.get<double>()));
    return;
  }
  const int64_t size = static_cast<int64_t>(value.size());
  if (depth == out.shape.size()) {
    if (!out.values.empty()) fail("[quant_desc] amax: lists are nested to different depths");
    out.shape.push_back(size);
  }
  if (out.shape[depth] != size)
    fail("[quant_desc] amax: rows of {} and of {} values", out.shape[depth], size);
  for (const Json& item : value) read_nested(item, depth + 1, out);
}

FloatArray read_amax(const Json& value) {
  if (value.is_number_float()) return FloatArray::scalar(static_cast<float>(value.get<double>()));
  const Json* list = value.is_array() ? &value : nullptr;
  if (value.is_object() && value.size() == 1 && value.contains("ndarray")) list = &value.at("ndarray");
  if (!list) fail("[quant_desc] amax must be float, list or ndarray, got {}", value.dump());
  FloatArray amax;
  read_nested(*list, 0, amax);
  return amax;
}

Axis read_axis(const Json& value) {
  if (value.is_number_integer()) return Axis::of(value.get<int>());
  Axis axis;
  const Json* list = value.is_array() ? &value : nullptr;
  axis.form = Axis::Form::kList;
  if (value.is_object() && value.size() == 1 && value.contains("tuple")) {
    list = &value.at("tuple");
    axis.form = Axis::Form::kTuple;
  }
  if (!list || !list->is_array())
    fail("[quant_desc] axis must be an integer or a list of them, got {}", value.dump());
  for (const Json& dim : *list) {
    if (!dim.is_number_integer()) fail("[quant_desc] axis must hold integers, got {}", dim.dump());
    axis.dims.push_back(dim.get<int>());
  }
  return axis;
}

Json axis_json(const Axis& axis) {
  if (axis.form == Axis::Form::kInt) return axis.dims.at(0);
  if (axis.form == Axis::Form::kList) return axis.dims;
  return Json{{"tuple", axis.dims}};
}

bool read_bool(const Json& object, const char* key) {
  const Json& value = object.at(key);
  if (!value.is_boolean()) fail("[quant_desc] {} must be true or false, got {}", key, value.dump());
  return value.get<bool>();
}

const Json* find(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

CalibMethod read_calib_method(const Json& value) {
  if (value == "max") return CalibMethod::kMax;
  if (value == "histogram") return CalibMethod::kHistogram;
  return CalibMethod::kOther;
}

void check_num_bits(int64_t num_bits) {
  if (num_bits < 0) fail("[quant_desc] num_bits must be >= 0, got {}", num_bits);
}

void check_learnable(const QuantDescriptor& descriptor) {
  if (descriptor.learn_amax && descriptor.axis)
    fail("[quant_desc] axis is ignored and must be none when learn_amax is true, got axis={}",
         text_of(*descriptor.axis));
}

QuantDescriptor with_axis(int axis) {
  QuantDescriptor descriptor;
  descriptor.axis = Axis::of(axis);
  return descriptor;
}

}  // namespace

std::string_view name_of(CalibMethod method) {
  switch (method) {
    case CalibMethod::kMax:
      return "max";
    case CalibMethod::kHistogram:
      return "histogram";
    case CalibMethod::kOther:
      return "other";
  }
  return "?";
}

std::string text_of(const Axis& axis) {
  if (axis.form == Axis::Form::kInt) return fmt::format("{}", axis.dims.at(0));
  std::string text;
  for (size_t i = 0; i < axis.dims.size(); ++i) text += fmt::format("{}{}", i ? ", " : "", axis.dims[i]);
  if (axis.form == Axis::Form::kList) return fmt::format("[{}]", text);
  return fmt::format("({}{})", text, axis.dims.size() == 1 ? "," : "");
}

void QuantDescriptor::validate() const {
  check_num_bits(num_bits);
  check_learnable(*this);
  if (axis && axis->form == Axis::Form::kInt && axis->dims.size() != 1)
    fail("[quant_desc] axis written as one number needs 1 dimension, got {}", axis->dims.size());
  if (amax && element_count(amax->shape) != static_cast<int64_t>(amax->values.size()))
    fail("[quant_desc] amax of shape {} needs {} values, got {}", qdqbert::to_string(amax->shape),
         element_count(amax->shape), amax->values.size());
}

std::string QuantDescriptor::to_string() const {
  std::string text = name ? *name + ": (" : "QuantDescriptor(";
  if (is_unsigned) text += "unsigned ";
  text += fmt::format("{}bit {}", num_bits, fake_quant ? "fake" : "real");
  text += " axis=" + (axis ? text_of(*axis) : " per-tensor");
  if (amax) text += " amax=" + numpy_text(*amax) + " full_range";
  if (learn_amax) text += " learn_amax";
  if (scale_amax && *scale_amax != 0) text += " scale_amax=" + double_text(*scale_amax);
  return text + ")";
}

Json QuantDescriptor::to_dict() const {
  Json object;
  object["num_bits"] = num_bits;
  object["name"] = name ? Json(*name) : Json(nullptr);
  if (!fake_quant) object["fake_quant"] = false;
  if (axis) object["axis"] = axis_json(*axis);
  if (amax) {
    size_t next = 0;
    object["amax"] = nested(*amax, 0, next);
  }
  if (scale_amax) object["scale_amax"] = *scale_amax;
  if (learn_amax) object["learn_amax"] = true;
  if (is_unsigned) object["unsigned"] = true;
  return object;
}

Json QuantDescriptor::to_json() const {
  Json object = to_dict();
  if (narrow_range) object["narrow_range"] = true;
  if (calib_method != CalibMethod::kMax) object["calib_method"] = std::string(name_of(calib_method));
  return object;
}

QuantDescriptor QuantDescriptor::from_json(const Json& object) {
  if (!object.is_object()) fail("[quant_desc] a descriptor must be an object, got {}", object.type_name());
  QuantDescriptor descriptor;
  if (const auto bits = object.find("num_bits"); bits != object.end()) {
    if (!bits->is_number_integer()) fail("[quant_desc] num_bits must be an integer, got {}", bits->dump());
    const int64_t value = bits->get<int64_t>();
    check_num_bits(value);
    if (value > std::numeric_limits<int>::max()) fail("[quant_desc] num_bits is too large, got {}", value);
    descriptor.num_bits = static_cast<int>(value);
  }
  if (const Json* name = find(object, "name")) {
    if (!name->is_string()) fail("[quant_desc] name must be a string or none, got {}", name->dump());
    descriptor.name = name->get<std::string>();
  }
  if (object.contains("learn_amax")) descriptor.learn_amax = read_bool(object, "learn_amax");
  if (const Json* axis = find(object, "axis")) descriptor.axis = read_axis(*axis);
  check_learnable(descriptor);
  if (const Json* amax = find(object, "amax")) descriptor.amax = read_amax(*amax);
  if (object.contains("fake_quant")) descriptor.fake_quant = read_bool(object, "fake_quant");
  if (object.contains("unsigned")) descriptor.is_unsigned = read_bool(object, "unsigned");
  if (object.contains("narrow_range")) descriptor.narrow_range = read_bool(object, "narrow_range");
  if (const Json* scale = find(object, "scale_amax")) {
    if (!scale->is_number()) fail("[quant_desc] scale_amax must be a number, got {}", scale->dump());
    descriptor.scale_amax = scale->get<double>();
  }
  if (const auto method = object.find("calib_method"); method != object.end())
    descriptor.calib_method = read_calib_method(*method);

  constexpr std::array kKeys = {"num_bits",   "name",       "fake_quant", "axis",         "amax",
                                "learn_amax", "scale_amax", "unsigned",   "narrow_range", "calib_method"};
  for (const auto& [key, value] : object.items())
    if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end()) fail("[quant_desc] unused key {}", key);
  return descriptor;
}

QuantDescriptor desc_8bit_per_tensor() {
  return {};
}

QuantDescriptor desc_unsigned_8bit_per_tensor() {
  QuantDescriptor descriptor;
  descriptor.is_unsigned = true;
  return descriptor;
}

QuantDescriptor desc_8bit_linear_weight_per_row() {
  return with_axis(0);
}
QuantDescriptor desc_8bit_conv_weight_per_channel() {
  return with_axis(0);
}
QuantDescriptor desc_8bit_conv_transpose_weight_per_channel() {
  return with_axis(0);
}

}  // namespace qdqbert::quant
