// What every refusal of bad input has in common.
#pragma once

#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"

namespace qdqbert::testing {

/// Empty when `body` accepts; the message when it refuses as it should: an InputError of one line that starts
/// with its subject. Anything else fails the test.
inline std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.substr(0, 1), "[") << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_GT(text.size(), 20u);
    EXPECT_LT(text.size(), 1000u) << text;
    return text;
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not an InputError: " << error.what();
    return error.what();
  }
  return "";
}

}  // namespace qdqbert::testing
