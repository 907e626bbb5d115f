#include "qdqbert/report/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace qdqbert::report {
namespace {

constexpr double kWidth = 640, kHeight = 300, kLeft = 64, kRight = 16, kTop = 34, kBottom = 44;
constexpr size_t kMostPoints = 400;
// Told apart also by people who do not see red and green as different.
constexpr std::array<const char*, 6> kColours = {"#0072b2", "#d55e00", "#009e73",
                                                 "#cc79a7", "#e69f00", "#56b4e9"};

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool is_empty() const { return low > high; }
  // A flat line lies in the middle.
  void open() {
    if (high > low) return;
    const double margin = low == 0 ? 1 : std::abs(low) * 0.1;
    low -= margin;
    high += margin;
  }
};

using Points = std::vector<std::pair<double, double>>;

// 1, 2 or 5 times a power of ten, so that about `wanted` ticks fit.
double tick_step(const Range& range, int wanted) {
  const double rough = (range.high - range.low) / wanted;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (rough <= factor * power) return factor * power;
  return 10 * power;
}

// Of each block of neighbours the lowest and the highest stay, so that a peak is never lost.
Points thinned(const Points& points) {
  if (points.size() <= kMostPoints) return points;
  const size_t blocks = kMostPoints / 2;
  Points kept;
  for (size_t block = 0; block < blocks; ++block) {
    const auto first = points.begin() + static_cast<std::ptrdiff_t>(block * points.size() / blocks);
    const auto last = points.begin() + static_cast<std::ptrdiff_t>((block + 1) * points.size() / blocks);
    const auto [low, high] =
        std::minmax_element(first, last, [](const auto& a, const auto& b) { return a.second < b.second; });
    kept.push_back(*std::min(low, high));
    if (low != high) kept.push_back(*std::max(low, high));
  }
  return kept;
}

class Drawing {
 public:
  explicit Drawing(const Chart& chart) : chart_(chart) {
    for (const Series& series : chart.series) {
      for (const auto& [x, y] : series.points) {
        if (!is_drawn(x, y)) continue;
        x_.include(x);
        y_.include(height_of(y));
      }
    }
  }

  std::string text() {
    out_ = fmt::format(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n<text x=\"{}\" y=\"20\" class=\"title\">"
        "{}</text>\n",
        kWidth, kHeight, escape(chart_.title), kLeft, escape(chart_.title));
    if (x_.is_empty()) {
      out_ += fmt::format("<text x=\"{}\" y=\"{}\">no data</text>\n</svg>\n", kWidth / 2, kHeight / 2);
      return out_;
    }
    x_.open();
    y_.open();
    draw_axes();
    for (size_t i = 0; i < chart_.series.size(); ++i) draw(chart_.series[i], i);
    out_ += "</svg>\n";
    return out_;
  }

 private:
  bool is_drawn(double x, double y) const {
    return std::isfinite(x) && std::isfinite(y) && (!chart_.log_y || y > 0);
  }
  double height_of(double y) const { return chart_.log_y ? std::log10(y) : y; }
  double to_x(double x) const {
    return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
  }
  double to_y(double height) const {
    return kHeight - kBottom - (height - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }

  void draw_axes() {
    const double x_step = tick_step(x_, 8), y_step = tick_step(y_, 5);
    for (double tick = std::ceil(x_.low / x_step) * x_step; tick <= x_.high + x_step * 1e-9; tick += x_step)
      out_ += fmt::format(
          "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" class=\"grid\"/><text x=\"{0:.1f}\" "
          "y=\"{3}\" "
          "text-anchor=\"middle\">{4:.6g}</text>\n",
          to_x(tick), kTop, kHeight - kBottom, kHeight - kBottom + 16, tick);
    for (double tick = std::ceil(y_.low / y_step) * y_step; tick <= y_.high + y_step * 1e-9; tick += y_step) {
      // Ticks are multiples of the step only up to rounding; without this, zero prints as 1e-17.
      const double value = std::abs(tick) < y_step * 1e-9 ? 0 : tick;
      out_ += fmt::format(
          "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" class=\"grid\"/><text x=\"{3}\" "
          "y=\"{4:.1f}\" "
          "text-anchor=\"end\">{5:.4g}</text>\n",
          kLeft, kWidth - kRight, to_y(tick), kLeft - 6, to_y(tick) + 4,
          chart_.log_y ? std::pow(10, value) : value);
    }
    out_ += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kWidth - kRight,
                        kHeight - 8, escape(chart_.x_label));
  }

  void draw(const Series& series, size_t index) {
    const char* colour = kColours[index % kColours.size()];
    std::string line, marks;
    bool pen_down = false;
    for (const auto& [x, y] : thinned(series.points)) {
      if (!is_drawn(x, y)) {
        pen_down = false;
        continue;
      }
      const double left = to_x(x), top = to_y(height_of(y));
      line += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", left, top);
      marks += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2\" fill=\"{}\"><title>{}: "
          "{:.6g} at {:.6g}</title></circle>",
          left, top, colour, escape(series.name), y, x);
      pen_down = true;
    }
    out_ += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"/>{}\n", line, colour,
                        marks);
    // The legend runs from right to left, as the title takes the left.
    out_ += fmt::format("<text x=\"{}\" y=\"20\" text-anchor=\"end\" fill=\"{}\">{}</text>\n",
                        kWidth - kRight - static_cast<double>(index) * 110, colour, escape(series.name));
  }

  const Chart& chart_;
  Range x_, y_;
  std::string out_;
};

}  // namespace

std::string escape(std::string_view text) {
  std::string safe;
  for (const char character : text) {
    switch (character) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe.push_back(character);
    }
  }
  return safe;
}

std::string svg(const Chart& chart) {
  return Drawing(chart).text();
}

}  // namespace qdqbert::report
