// An integer matrix product, by plain loops and by a kernel.
#pragma once

#include <cstdlib>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "qdqbert/engine/kernels/pack.h"

namespace qdqbert::engine {

struct Aligned {
  explicit Aligned(size_t bytes)
      : data(static_cast<unsigned char*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64))) {}
  ~Aligned() { std::free(data); }
  unsigned char* data;
};

struct Problem {
  size_t m, n, k;
  std::vector<int8_t> a, b;  ///< a [m][k], b [k][n]
};

inline std::vector<int32_t> plain(const Problem& p) {
  std::vector<int32_t> c(p.m * p.n, 0);
  for (size_t m = 0; m < p.m; ++m)
    for (size_t k = 0; k < p.k; ++k)
      for (size_t n = 0; n < p.n; ++n) c[m * p.n + n] += p.a[m * p.k + k] * p.b[k * p.n + n];
  return c;
}

inline std::vector<int32_t> with_kernel(const GemmS8Kernel& kernel, const Problem& p, bool transposed,
                                        bool shortest = false) {
  const size_t k = padded_k(p.k);
  std::vector<int8_t> b = p.b;
  MatrixS8 matrix{b.data(), p.k, p.n, p.n, 1};
  if (transposed) {
    for (size_t i = 0; i < p.k; ++i)
      for (size_t n = 0; n < p.n; ++n) b[n * p.k + i] = p.b[i * p.n + n];
    matrix = {b.data(), p.k, p.n, 1, p.k};
  }
  const size_t panels = panel_count(kernel, p.n), bytes = panel_bytes(kernel, k);
  const Aligned packed(panels * bytes);
  pack_panels(kernel, matrix, packed.data);
  // Padding of A in both directions holds codes that must not matter.
  const size_t rows = (p.m + kernel.row_overread - 1) / kernel.row_overread * kernel.row_overread;
  std::vector<uint8_t> a(rows * k, 0x5a);
  const uint8_t flip = kernel.unsigned_a ? 0x80 : 0;
  for (size_t m = 0; m < p.m; ++m)
    for (size_t i = 0; i < p.k; ++i) a[m * k + i] = static_cast<uint8_t>(p.a[m * p.k + i]) ^ flip;
  const size_t ld = panels * kernel.columns;
  std::vector<int32_t> acc((p.m + 1) * ld, 0x77777777);
  kernel.enter();
  for (size_t j = 0; j < panels; ++j)
    kernel.run(a.data(), k, p.m, packed.data + j * bytes, shortest ? least_k(kernel, p.k) : k,
               acc.data() + j * kernel.columns, ld);
  kernel.leave();
  for (size_t n = 0; n < ld; ++n)
    EXPECT_EQ(acc[p.m * ld + n], 0x77777777) << "a row past the end was written";
  std::vector<int32_t> c(p.m * p.n);
  for (size_t m = 0; m < p.m; ++m)
    std::memcpy(c.data() + m * p.n, acc.data() + m * ld, p.n * sizeof(int32_t));
  return c;
}

}  // namespace qdqbert::engine
