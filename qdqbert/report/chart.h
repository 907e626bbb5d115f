// Line charts as SVG text, to be put into a page.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace qdqbert::report {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>>
      points;  ///< x ascending; points with a value that is not finite leave a gap
};

struct Chart {
  std::string title, x_label;
  std::vector<Series> series;
  bool log_y = false;  ///< logarithmic y axis; values <= 0 then leave a gap
};

/// Text that is safe inside HTML and XML elements and attributes.
std::string escape(std::string_view text);

/// An `<svg>` element of 640 x 300 units that scales with the page: axes with round tick values, one coloured
/// line a series, its points with their values as tooltips (at most 400 a series; longer ones are thinned,
/// extremes kept), a legend. Says "no data" without any finite point.
std::string svg(const Chart& chart);

}  // namespace qdqbert::report
