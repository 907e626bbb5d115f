// Columns for people.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace qdqbert::cli {

/// Rows of cells, two spaces apart, the first row being the heading with a line below. `alignment` has one
/// character a column: 'l' or 'r'. A last column on the left is not padded.
std::string table(const std::vector<std::vector<std::string>>& rows, std::string_view alignment);

}  // namespace qdqbert::cli
