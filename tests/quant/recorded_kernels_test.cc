// The loops' results as recorded bits. kernels_test.cc compares instruction sets with the plain table of the
// same processor; this says that the plain table is the same one everywhere.
//
// The digest was recorded on x86-64, where ref, avx2 and avx512 agreed. It changes with the definition
// of the loops and with the inputs below: then take the new one from the message of the failing
// test, when all tables print the same.
#include <limits>

#include <gtest/gtest.h>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/quant/kernels.h"

#include "tests/support/recorded_bits.h"

namespace qdqbert::quant {
namespace {

using qdqbert::testing::defined_floats;
using qdqbert::testing::RecordedBits;

constexpr const char* kDigest = "ba29dcb11099883195298a828d138f4761100bcd542c2477aa280644b30001f4";
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::string digest_of(const Kernels& table) {
  std::mt19937 random(5);
  std::vector<float> x = defined_floats(random, 3000, -2, 2);
  for (int code = -130; code <= 130; ++code) x.push_back((static_cast<float>(code) + 0.5f) / 64);
  for (const float value : {0.0f, -0.0f, 1e-45f, -1e-45f, 1e-38f, 3e38f, -3e38f, 9.3e18f, -9.3e18f, kInfinity,
                            -kInfinity, kNan, -kNan})
    x.push_back(value);
  std::vector<float> y(x.size());
  std::vector<uint8_t> mask(x.size() / 8 + 1);
  RecordedBits bits;
  for (const float scale : {64.0f, 57.3f, 0.0f, kInfinity}) {
    table.quantize(x.data(), y.data(), x.size(), scale, scale, -128, 127);
    bits.add(y);
  }
  for (const float step : {1 / 64.0f, 0.0174f, 1e-30f, 0.0f, -0.5f})
    for (const float overflow : {-kInfinity, kInfinity}) {
      table.affine(x.data(), y.data(), x.size(), 1 / step, step, -128, 127, overflow);
      bits.add(y);
    }
  for (const float amax : {1.0f, 0.7f, 0.0f, kInfinity, kNan}) {
    table.pass_inside(x.data(), x.data(), y.data(), x.size(), amax);
    bits.add(y);
    table.pass_affine(x.data(), x.data(), y.data(), x.size(), 127 / amax, -128, 127);
    bits.add(y);
    table.mark_affine(x.data(), x.size(), 127 / amax, -128, 127, mask.data(), 0);
    bits.add(mask);
  }
  const Magnitudes found = table.magnitudes(x.data(), 3261);
  bits.add(std::vector<float>{found.largest, found.smallest_nonzero});
  return bits.digest();
}

TEST(RecordedKernels, HaveTheRecordedBits) {
  for (const Isa isa : kIsas) {
    if (supports(isa)) EXPECT_EQ(digest_of(kernels_for(isa)), kDigest) << name_of(isa);
  }
}

}  // namespace
}  // namespace qdqbert::quant
