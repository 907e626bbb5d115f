// The promise of the block cache: what is held is at most a quarter more than what was in use at once.
#include "qdqbert/nn/block_cache.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace qdqbert::nn {
namespace {

constexpr int64_t kMegabyte = int64_t{1} << 18;  // of float32 values

TEST(BlockCache, ServesAgainAndHoldsLittleMoreThanWasInUse) {
  cache_large_tensors();
  cache_large_tensors();
  const size_t before = block_cache_usage().in_use;
  const void* first = nullptr;
  {
    const at::Tensor tensor = at::ones({8 * kMegabyte});
    first = tensor.data_ptr();
    EXPECT_EQ(block_cache_usage().in_use, before + (size_t{8} << 20));
  }
  EXPECT_EQ(block_cache_usage().in_use, before);
  {
    // A little smaller is the same size class.
    const at::Tensor again = at::ones({8 * kMegabyte - 1000});
    EXPECT_EQ(again.data_ptr(), first);
    EXPECT_EQ(again.sum().item<double>(), 8 * kMegabyte - 1000);
  }
  for (int64_t megabytes = 1; megabytes <= 24; ++megabytes) {
    const at::Tensor a = at::full({megabytes * kMegabyte}, 2.0F), b = a + 1;
    EXPECT_EQ(b[-1].item<float>(), 3.0F);
    const BlockCacheUsage usage = block_cache_usage();
    EXPECT_LE(usage.in_use + usage.free, usage.most_in_use / 4 * 5) << megabytes;
  }
  const size_t most = block_cache_usage().most_in_use;
  for (int round = 0; round < 5; ++round) {
    for (const int64_t rows : {300, 500, 700}) {
      const at::Tensor x = at::rand({rows, 1024});
      at::gelu(at::linear(x, at::rand({1024, 1024}))).sum();
    }
  }
  EXPECT_EQ(block_cache_usage().in_use, before);
  EXPECT_LE(block_cache_usage().in_use + block_cache_usage().free, block_cache_usage().most_in_use / 4 * 5);
  EXPECT_GE(block_cache_usage().most_in_use, most);
}

TEST(BlockCache, LeavesSmallTensorsAndTensorsFromBeforeAlone) {
  cache_large_tensors();
  const size_t before = block_cache_usage().in_use;
  const at::Tensor small = at::ones({1000}), grown = at::ones({1000});
  EXPECT_EQ(block_cache_usage().in_use, before);
  grown.resize_({4 * kMegabyte});  // moves from one allocator to the other
  EXPECT_EQ(block_cache_usage().in_use, before + (size_t{4} << 20));
  EXPECT_EQ(grown[999].item<float>(), 1.0F);
}

TEST(BlockCache, ServesThreadsAtOnce) {
  cache_large_tensors();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&wrong, t] {
      for (int round = 0; round < 5; ++round) {
        const at::Tensor x = at::full({kMegabyte + 1000 * round}, static_cast<float>(t));
        if (x.min().item<float>() != static_cast<float>(t) || x.max().item<float>() != static_cast<float>(t))
          ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace qdqbert::nn
