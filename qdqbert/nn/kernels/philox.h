// The random words of dropout one counter at a time, the same bits on a GPU as in rows_generic.inc, to which
// a test that needs no GPU holds it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "qdqbert/nn/kernels/rows.h"

#ifdef __CUDACC__
#define QDQBERT_HOST_DEVICE __host__ __device__
#else
#define QDQBERT_HOST_DEVICE
#endif

namespace qdqbert::nn {

struct RandomWords {
  uint32_t word[4];
};

/// Philox4x32-10 of a stream's counter n: the words of elements element_of_word(n, 0) to (n, 3).
QDQBERT_HOST_DEVICE inline RandomWords random_words(const RandomStream& stream, uint32_t n) {
  uint32_t k0 = static_cast<uint32_t>(stream.key), k1 = static_cast<uint32_t>(stream.key >> 32);
  RandomWords c = {
      {n, stream.call, static_cast<uint32_t>(stream.step), static_cast<uint32_t>(stream.step >> 32)}};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = 0xD2511F53ull * c.word[0], b = 0xCD9E8D57ull * c.word[2];
    c = {{static_cast<uint32_t>(b >> 32) ^ c.word[1] ^ k0, static_cast<uint32_t>(b),
          static_cast<uint32_t>(a >> 32) ^ c.word[3] ^ k1, static_cast<uint32_t>(a)}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

QDQBERT_HOST_DEVICE inline size_t element_of_word(size_t n, int word) {
  return n / 16 * 64 + n % 16 + 16 * static_cast<size_t>(word);
}

}  // namespace qdqbert::nn
