#include <array>
#include <thread>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace qdqbert::nn {
namespace {

TEST(Parallel, LoopsRunOnAsManyThreadsAsAreSet) {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  std::array<std::thread::id, 2> at_work;
  at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) at_work[i] = std::this_thread::get_id();
  });
  at::set_num_threads(before);
  EXPECT_NE(at_work[0], at_work[1]);
}

}  // namespace
}  // namespace qdqbert::nn
