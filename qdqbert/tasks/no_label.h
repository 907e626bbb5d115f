// What data sets write where a label is hidden or was never given.
#pragma once

#include <string>
#include <vector>

#include "qdqbert/base/json.h"

namespace qdqbert::tasks {

/// Labels that mean "no label", beside null and empty texts, which always do: "-1" and "-100" (GLUE's test
/// sets, positions that a loss ignores), "?" and "-" (annotators without a majority).
const std::vector<std::string>& usual_no_label_marks();

/// Those for tags of words, where "?" and "-" are parts of speech.
const std::vector<std::string>& usual_no_tag_marks();

/// Whether a field holds no label: null, an empty text, or one of `marks`, as text or as the number that it is.
bool is_no_label(const Json& value, const std::vector<std::string>& marks);

/// "\"-1\", \"?\"" of what rows had there, for messages.
std::string list_of_marks(const std::vector<Json>& found);

}  // namespace qdqbert::tasks
