// One HTML file that a person can open and mail: everything is inside, nothing is fetched, no script runs.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "qdqbert/report/chart.h"

namespace qdqbert::report {

/// Cells are text; a column whose cells below the heading are all numbers is set flush right.
struct Table {
  std::string title;
  std::vector<std::string> heading;
  std::vector<std::vector<std::string>> rows;  ///< each as long as the heading
};

struct Page {
  std::string title;
  std::vector<std::pair<std::string, std::string>> facts;  ///< command, seed, duration, ...
  std::vector<Chart> charts;
  std::vector<Table> tables;
};

/// The page as HTML text.
std::string html(const Page& page);

}  // namespace qdqbert::report
