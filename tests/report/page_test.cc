#include "qdqbert/report/page.h"

#include <cmath>
#include <limits>
#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace qdqbert::report {
namespace {

size_t count(const std::string& text, const std::string& word) {
  size_t found = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

// Whether every element that is opened is closed, in order.
bool is_balanced(const std::string& text) {
  static const std::regex tag(R"(<(/?)([a-z0-9]+)[^>]*?(/?)>)");
  std::vector<std::string> open;
  for (std::sregex_iterator match(text.begin(), text.end(), tag), end; match != end; ++match) {
    const std::string name = (*match)[2];
    if (name == "meta" || (*match)[3] == "/") continue;
    if ((*match)[1] != "/") {
      open.push_back(name);
    } else {
      if (open.empty() || open.back() != name) return false;
      open.pop_back();
    }
  }
  return open.empty();
}

Chart ramp(size_t points) {
  Chart chart{"loss", "step", {{"train", {}}}, false};
  for (size_t i = 0; i < points; ++i)
    chart.series[0].points.emplace_back(static_cast<double>(i), i == points / 2 ? 1e3 : 1.0 / (1.0 + i));
  return chart;
}

TEST(Chart, EveryPointIsThereWithItsValue) {
  const std::string text = svg(ramp(20));
  EXPECT_TRUE(is_balanced(text));
  EXPECT_EQ(count(text, "<circle"), 20U);
  EXPECT_NE(text.find("train: 1000 at 10"), std::string::npos);
}

TEST(Chart, ThinningKeepsPeaks) {
  const std::string text = svg(ramp(100000));
  EXPECT_LE(count(text, "<circle"), 400U);
  EXPECT_NE(text.find("train: 1000 at 50000"), std::string::npos);
}

TEST(Chart, ValuesThatAreNotFiniteLeaveGaps) {
  Chart chart = ramp(5);
  chart.series[0].points[2].second = std::numeric_limits<double>::quiet_NaN();
  const std::string text = svg(chart);
  EXPECT_EQ(count(text, "<circle"), 4U);
  EXPECT_EQ(text.find("nan"), std::string::npos);
  const std::string path = text.substr(text.find("d=\""), text.find("fill=\"none\"") - text.find("d=\""));
  EXPECT_EQ(count(path, "M"), 2U);
  EXPECT_NE(svg(Chart{"empty", "step", {}, false}).find("no data"), std::string::npos);
}

TEST(Chart, FlatAndLogarithmic) {
  Chart flat{"lr", "step", {{"lr", {{0, 5}, {1, 5}}}}, false};
  EXPECT_EQ(svg(flat).find("nan"), std::string::npos);
  Chart logarithmic{"amax", "step", {{"a", {{0, 0.0}, {1, 0.01}, {2, 100}}}}, true};
  EXPECT_EQ(count(svg(logarithmic), "<circle"), 2U);
}

TEST(Page, TextIsEscapedAndNumbersFlushRight) {
  Page page;
  page.title = "a < b & \"c\"";
  page.facts = {{"command", "x <y>"}};
  page.charts = {ramp(3)};
  page.tables = {{"scores", {"name", "F1"}, {{"<fp32>", "81.58"}, {"int8", "80.30 %"}}}};
  const std::string text = html(page);
  EXPECT_TRUE(is_balanced(text));
  EXPECT_NE(text.find("a &lt; b &amp; &quot;c&quot;"), std::string::npos);
  EXPECT_EQ(text.find("<fp32>"), std::string::npos);
  EXPECT_NE(text.find("<td class=\"number\">81.58</td>"), std::string::npos);
  EXPECT_NE(text.find("<td>int8</td>"), std::string::npos);
  EXPECT_EQ(count(text, "src="), 0U) << "nothing is fetched";
}

}  // namespace
}  // namespace qdqbert::report
