#include "qdqbert/report/page.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

namespace qdqbert::report {
namespace {

constexpr const char* kStyle =
    "body{font:15px/1.45 system-ui,sans-serif;max-width:1360px;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:1rem}"
    "svg{width:100%;background:#fafafa;border:1px solid #ddd;font-size:12px}svg text{fill:#444}"
    "svg .title{font-weight:600;fill:#222}.grid{stroke:#ddd;stroke-width:.5}"
    "table{border-collapse:collapse}td,th{padding:.15rem .7rem;border-bottom:1px solid "
    "#e4e4e4;text-align:left}"
    "td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}dt{font-weight:600}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem "
    "1rem}dd{margin:0;overflow-wrap:anywhere}";

bool is_number(const std::string& cell) {
  char* end = nullptr;
  std::strtod(cell.c_str(), &end);
  return !cell.empty() && (*end == '\0' || std::string_view(end) == "%" || std::string_view(end) == " %");
}

std::string cell(const char* tag, const std::string& text, bool flush_right) {
  return fmt::format("<{0}{1}>{2}</{0}>", tag, flush_right ? " class=\"number\"" : "", escape(text));
}

std::string table_html(const Table& table) {
  std::vector<bool> flush_right(table.heading.size());
  for (size_t column = 0; column < table.heading.size(); ++column)
    flush_right[column] = std::all_of(table.rows.begin(), table.rows.end(), [&](const auto& row) {
      return row[column].empty() || is_number(row[column]);
    });
  std::string out = fmt::format("<h2>{}</h2>\n<table><tr>", escape(table.title));
  for (size_t column = 0; column < table.heading.size(); ++column)
    out += cell("th", table.heading[column], flush_right[column]);
  for (const auto& row : table.rows) {
    out += "</tr>\n<tr>";
    for (size_t column = 0; column < row.size(); ++column)
      out += cell("td", row[column], flush_right[column]);
  }
  return out + "</tr></table>\n";
}

}  // namespace

std::string html(const Page& page) {
  std::string out = fmt::format(
      "<!doctype html>\n"
      "<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title><style>{1}</style></head>\n"
      "<body><h1>{0}</h1>\n"
      "<dl>",
      escape(page.title), kStyle);
  for (const auto& [name, value] : page.facts)
    out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value));
  out += "</dl>\n<div class=\"charts\">\n";
  for (const Chart& chart : page.charts) out += svg(chart);
  out += "</div>\n";
  for (const Table& table : page.tables) out += table_html(table);
  return out + "</body></html>\n";
}

}  // namespace qdqbert::report
