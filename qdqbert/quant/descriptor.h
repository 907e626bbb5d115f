// What a quantizer does to a tensor, as toolkit release 2.1.2 describes it:
// a plain value that is copied around.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/base/json.h"
#include "qdqbert/quant/float_array.h"

namespace qdqbert::quant {

/// Which calibrator a quantizer makes for itself. kOther stands for every name the toolkit does not know (or
/// none): it is accepted here and no calibrator is made.
enum class CalibMethod { kMax, kHistogram, kOther };

std::string_view name_of(CalibMethod method);  ///< "max", "histogram", "other"

/// Dimensions that keep a range of their own. How it was written (0, (0,) or [0]) is remembered, because the
/// printed and YAML forms and equality depend on it; the arithmetic does not.
struct Axis {
  enum class Form { kInt, kTuple, kList };
  std::vector<int> dims;
  Form form = Form::kInt;

  static Axis of(int dim) { return {{dim}, Form::kInt}; }
  static Axis tuple(std::vector<int> dims) { return {std::move(dims), Form::kTuple}; }
  bool operator==(const Axis&) const = default;
};

/// "0", "(0,)", "(0, 1)", "[0, 1]"
std::string text_of(const Axis& axis);

struct QuantDescriptor {
  int num_bits = 8;  ///< >= 0; 0 and signed 1 give degenerate grids (see docs/quantization.md)
  std::optional<std::string> name;
  bool fake_quant = true;    ///< float in, float out; otherwise integer values and a scale
  std::optional<Axis> axis;  ///< nullopt: one range for the whole tensor
  std::optional<FloatArray> amax;
  bool learn_amax = false;
  std::optional<double> scale_amax;  ///< multiplies amax where it is used
  CalibMethod calib_method = CalibMethod::kMax;
  bool is_unsigned = false;
  bool narrow_range = false;

  /// Throws InputError: negative num_bits; learn_amax together with an axis;
  /// amax whose values do not fill its shape.
  void validate() const;

  /// The one-line form, e.g. "QuantDescriptor(8bit fake axis= per-tensor)".
  std::string to_string() const;

  /// The toolkit's dict(): num_bits and name always, the rest only when it differs from the default,
  /// narrow_range and calib_method never. A tuple axis is {"tuple": [...]}.
  Json to_dict() const;
  /// to_dict() plus narrow_range and calib_method where they differ from the default: nothing is lost.
  Json to_json() const;
  /// Reads what to_dict() and to_json() write (amax also as {"ndarray": ...}). Throws InputError for a wrong
  /// type, an unknown key or an invalid value.
  static QuantDescriptor from_json(const Json& object);

  /// Block-style YAML of to_dict(), keys sorted. Throws InputError for an axis that is a plain number, which
  /// the toolkit cannot write either.
  std::string to_yaml() const;
  /// Reads to_yaml(); an axis list becomes a tuple. Throws InputError.
  static QuantDescriptor from_yaml(std::string_view text);

  /// Every field; amax element by element.
  bool operator==(const QuantDescriptor&) const = default;
};

/// The toolkit's predefined descriptors. All are 8 bit, fake, full range, calibrated by maximum.
QuantDescriptor desc_8bit_per_tensor();
QuantDescriptor desc_unsigned_8bit_per_tensor();
QuantDescriptor desc_8bit_linear_weight_per_row();              ///< axis 0
QuantDescriptor desc_8bit_conv_weight_per_channel();            ///< axis 0, for one, two and three dimensions
QuantDescriptor desc_8bit_conv_transpose_weight_per_channel();  ///< axis 0 in release 2.1.2 (1 since 2.2.1)

}  // namespace qdqbert::quant
