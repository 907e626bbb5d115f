#include "qdqbert/nn/kernels/philox.h"

#include <vector>

#include <gtest/gtest.h>

namespace qdqbert::nn {
namespace {

// What a GPU draws, compiled for the CPU.
TEST(Philox, HasTheBitsOfTheMasks) {
  const RandomStream stream{0x0123456789abcdefULL, 0xfedcba9876543210ULL, 17};
  constexpr size_t kWords = 40;
  for (const uint32_t threshold : {0U, 1U << 29, 0xf0000000U}) {
    std::vector<uint64_t> mask(kWords);
    row_kernels().random_mask(&stream, 0, kWords, threshold, mask.data());
    size_t kept = 0;
    for (size_t n = 0; n < kWords * 16; ++n) {
      const RandomWords random = random_words(stream, static_cast<uint32_t>(n));
      for (int j = 0; j < 4; ++j) {
        const size_t element = element_of_word(n, j);
        const bool keeps = random.word[j] >= threshold;
        ASSERT_EQ(keeps, (mask[element / 64] >> element % 64 & 1) != 0) << "element " << element;
        kept += keeps;
      }
    }
    if (threshold == 0) {
      EXPECT_EQ(kept, kWords * 64);
    }
  }
}

}  // namespace
}  // namespace qdqbert::nn
