#include "qdqbert/engine/worker_pool.h"

#include <chrono>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qdqbert::engine {
namespace {

TEST(WorkerPool, EveryTaskRunsOnceAndIsDoneWhenRunReturns) {
  for (const int threads : {1, 2, 3, 5}) {
    WorkerPool pool(threads);
    for (size_t job = 0; job < 2000; ++job) {
      const size_t count = job % 23;
      std::vector<int> calls(count);
      int bad_worker = 0;
      pool.run(count, [&](size_t index, int worker) {
        ++calls[index];
        if (worker < 0 || worker >= threads) bad_worker = 1;
      });
      ASSERT_THAT(calls, testing::Each(1))
          << "job " << job << " of " << count << " tasks, " << threads << " threads";
      ASSERT_EQ(bad_worker, 0);
    }
  }
}

TEST(WorkerPool, WorkersTakePart) {
  WorkerPool pool(2);
  std::vector<int> by(2);
  const auto start = std::chrono::steady_clock::now();
  // However busy the machine is, the worker gets a turn some time.
  while (by[1] == 0 && std::chrono::steady_clock::now() - start < std::chrono::minutes(1))
    pool.run(64, [&](size_t, int worker) {
      ++by[static_cast<size_t>(worker)];
      const auto begin = std::chrono::steady_clock::now();
      while (std::chrono::steady_clock::now() - begin < std::chrono::microseconds(100)) continue;
    });
  EXPECT_GT(by[0], 0);
  EXPECT_GT(by[1], 0);
}

TEST(WorkerPool, PoolsComeAndGo) {
  for (int i = 0; i < 100; ++i) {
    WorkerPool pool(3);
    if (i % 2 == 0) pool.run(3, [](size_t, int) {});
  }
}

}  // namespace
}  // namespace qdqbert::engine
