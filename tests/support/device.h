// Where golden families run.
#pragma once

#include <optional>
#include <string>

#include <c10/core/Device.h>
#include <torch/nn/module.h>

namespace qdqbert::testing {

/// What QDQBERT_TEST_DEVICE says: cpu (default), standin, cuda or cuda:N.
/// Throws UsageError for anything else.
c10::Device test_device();

/// Why tests cannot run on test_device(); nullopt when they can.
std::optional<std::string> missing_test_device();

/// Parameters and buffers in place, so that what holds them finds them moved.
/// Call it before the first backward pass.
void move_to(torch::nn::Module& module, c10::Device device);

}  // namespace qdqbert::testing

/// First line of a test that runs on test_device().
#define QDQBERT_NEED_TEST_DEVICE() \
  if (const auto missing = ::qdqbert::testing::missing_test_device()) GTEST_SKIP() << *missing
