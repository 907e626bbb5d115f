// Float32 arrays printed as numpy's str() prints them with default options.
#pragma once

#include <string>

#include "qdqbert/quant/float_array.h"

namespace qdqbert::quant {

/// A scalar prints as the double it widens to ("0.699999988079071"); arrays with up to 8 fractional digits,
/// columns aligned, lines of at most 75 characters ("[1.  2.5]"). Arrays of more than 1000 values are
/// abbreviated by numpy; here they are printed whole.
std::string numpy_text(const FloatArray& array);

}  // namespace qdqbert::quant
