#include "qdqbert/quant/numpy_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "qdqbert/base/json.h"

namespace qdqbert::quant {

namespace {

constexpr size_t kPrecision = 8;
constexpr size_t kLineWidth = 75;

struct Parts {
  std::string left;   ///< sign and digits before the point, or a word such as "nan"
  std::string right;  ///< digits after the point
  std::string exponent;
  bool finite = true;
};

void strip_zeros(std::string& digits) {
  while (!digits.empty() && digits.back() == '0') digits.pop_back();
}

Parts split(float value, bool scientific) {
  if (!std::isfinite(value)) return {std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf", "", "", false};
  char buffer[96];
  const auto format = scientific ? std::chars_format::scientific : std::chars_format::fixed;
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr;
  std::string text(buffer, end);
  const auto fraction_length = [&] {
    const size_t point = text.find('.');
    return point == std::string::npos ? 0 : std::min(text.find('e'), text.size()) - point - 1;
  };
  if (fraction_length() > kPrecision) {
    end = std::to_chars(buffer, buffer + sizeof buffer, static_cast<double>(value), format, kPrecision).ptr;
    text.assign(buffer, end);
  }
  Parts parts;
  if (const size_t e = text.find('e'); e != std::string::npos) {
    parts.exponent = text.substr(e);
    text.resize(e);
  }
  const size_t point = std::min(text.find('.'), text.size());
  parts.left = text.substr(0, point);
  if (point < text.size()) parts.right = text.substr(point + 1);
  strip_zeros(parts.right);
  return parts;
}

bool wants_exponents(const FloatArray& array) {
  double largest = 0, smallest = INFINITY;
  for (const float value : array.values) {
    const double magnitude = std::fabs(value);
    if (!std::isfinite(magnitude) || magnitude == 0) continue;
    largest = std::max(largest, magnitude);
    smallest = std::min(smallest, magnitude);
  }
  return largest > 0 && (largest >= 1e8 || smallest < 1e-4 || largest / smallest > 1000);
}

class Printer {
 public:
  explicit Printer(const FloatArray& array) : array_(array) {
    const bool scientific = wants_exponents(array);
    for (const float value : array.values) words_.push_back(split(value, scientific));
    for (const Parts& word : words_) {
      if (!word.finite) continue;
      left_ = std::max(left_, word.left.size());
      right_ = std::max(right_, word.right.size());
      exponent_ = std::max(exponent_, word.exponent.size());
    }
    for (const Parts& word : words_)
      if (!word.finite)
        left_ = std::max(left_, word.left.size() - std::min(word.left.size(), right_ + exponent_ + 1));
  }

  std::string print() { return row(0, 0); }

 private:
  std::string element(size_t index) const {
    const Parts& word = words_[index];
    std::string text;
    if (!word.finite) {
      text = word.left;
      const size_t width = left_ + 1 + right_ + exponent_;
      return std::string(width - std::min(width, text.size()), ' ') + text;
    }
    text = std::string(left_ - word.left.size(), ' ') + word.left + "." + word.right;
    // With exponents numpy fills the fraction with zeros, otherwise with blanks.
    text += std::string(right_ - word.right.size(), exponent_ > 0 ? '0' : ' ');
    return text + word.exponent;
  }

  std::string row(size_t dim, size_t offset) {
    const size_t size = static_cast<size_t>(array_.shape[dim]);
    if (dim + 1 < array_.shape.size()) {
      size_t stride = 1;
      for (size_t d = dim + 1; d < array_.shape.size(); ++d) stride *= static_cast<size_t>(array_.shape[d]);
      std::string text = "[";
      for (size_t i = 0; i < size; ++i) {
        if (i) text += std::string(array_.shape.size() - dim - 1, '\n') + std::string(dim + 1, ' ');
        text += row(dim + 1, offset + i * stride);
      }
      return text + "]";
    }
    const std::string indent(dim + 1, ' ');
    std::string text = "[", line;
    size_t start = dim + 1;
    for (size_t i = 0; i < size; ++i) {
      const std::string word = element(offset + i);
      const size_t closing = i + 1 == size ? array_.shape.size() : 1;
      if (!line.empty() && start + line.size() + 1 + word.size() + closing > kLineWidth + 1) {
        text += line + "\n" + indent;
        line.clear();
        start = indent.size();
      }
      line += (line.empty() ? "" : " ") + word;
    }
    return text + line + "]";
  }

  const FloatArray& array_;
  std::vector<Parts> words_;
  size_t left_ = 1, right_ = 0, exponent_ = 0;
};

}  // namespace

std::string numpy_text(const FloatArray& array) {
  if (array.shape.empty()) return dump_json(Json(static_cast<double>(array.values.at(0))), {.indent = -1});
  if (array.values.empty()) return "[]";
  return Printer(array).print();
}

}  // namespace qdqbert::quant
