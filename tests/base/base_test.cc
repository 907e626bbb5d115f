#include <cmath>
#include <filesystem>
#include <limits>

#include <gtest/gtest.h>

#include "qdqbert/base/dtype.h"
#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/gzip.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/base/sha256.h"
#include "qdqbert/base/utf8.h"

namespace qdqbert {
namespace {

TEST(HalfTest, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_half(value), bits) << value;
  }
}

TEST(HalfTest, TiesGoToEven) {
  EXPECT_EQ(float_to_half(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(float_to_half(1.0f + 3 * 0x1p-11f), 0x3c02);
  EXPECT_EQ(float_to_half(0x1p-25f), 0x0000);
  EXPECT_EQ(float_to_half(3 * 0x1p-25f), 0x0002);
  EXPECT_EQ(float_to_half(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
}

TEST(JsonTest, PrintsNumbersAsPythonDoes) {
  const auto print = [](double v) { return dump_json(Json(v)); };
  EXPECT_EQ(print(1.0), "1.0");
  EXPECT_EQ(print(0.1), "0.1");
  EXPECT_EQ(print(1e-5), "1e-05");
  EXPECT_EQ(print(0.0001), "0.0001");
  EXPECT_EQ(print(1e16), "1e+16");
  EXPECT_EQ(print(123456789012345680.0), "1.2345678901234568e+17");
  EXPECT_EQ(print(1e15), "1000000000000000.0");
  EXPECT_EQ(print(0.1f), "0.10000000149011612");
  EXPECT_EQ(print(std::numeric_limits<double>::quiet_NaN()), "null") << "bare NaN is no JSON";
  EXPECT_EQ(print(-std::numeric_limits<double>::infinity()), "null");
}

TEST(JsonTest, EscapesAsPythonDoes) {
  EXPECT_EQ(dump_json(Json("a\"\\\n\x01é😀\x7f")), "\"a\\\"\\\\\\n\\u0001\\u00e9\\ud83d\\ude00\x7f\"");
}

TEST(JsonTest, ReportsLineAndColumn) {
  try {
    parse_json("{\n \"a\": ]}", "x.json");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "[json] x.json is not valid JSON at line 2, column 7");
  }
  EXPECT_THROW(parse_json(std::string(100000, '['), "deep"), InputError);
  EXPECT_THROW(parse_json("[1e400]", "large"), InputError);
  EXPECT_THROW(parse_json(std::string_view("{}\0", 3), "zero"), InputError);
  EXPECT_EQ(parse_json("[NaN, -Infinity, \"NaN\"]", "x").dump(), "[\"NaN\",\"-Infinity\",\"NaN\"]");
}

TEST(GzipTest, RoundTripAndDamage) {
  const std::string text = std::string(100000, 'a') + "b";
  const std::string packed = gzip(text);
  EXPECT_EQ(gunzip(packed, "x"), text);
  EXPECT_THROW(gunzip(packed.substr(0, packed.size() - 5), "x"), InputError);
  EXPECT_THROW(gunzip(packed, "x", 1000), InputError);
  EXPECT_THROW(gunzip("nonsense", "x"), InputError);
}

TEST(FileTest, AbandonedWriteLeavesTheOldFile) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "atomic.txt";
  write_file(path, "old");
  {
    AtomicFile file(path);
    file.write("half of the new");
  }
  EXPECT_EQ(read_file(path), "old");
  write_file(path, "new");
  EXPECT_EQ(read_file(path), "new");
}

TEST(Utf8Test, FindsTheFirstBadByte) {
  EXPECT_EQ(find_invalid_utf8("aé€😀"), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("a\xc0\x80"), 1u);
  EXPECT_EQ(find_invalid_utf8("a\xed\xa0\x80"), 1u);
  EXPECT_EQ(find_invalid_utf8("\xf4\x90\x80\x80"), 0u);
  EXPECT_EQ(decode_utf8("a\xff€").size(), 3u);
  const CodePointIndex index("aé€😀b");
  EXPECT_EQ(index.size(), 5u);
  EXPECT_EQ(index.slice(1, 3), "é€");
  EXPECT_EQ(index.slice(3, 99), "😀b");
}

TEST(Sha256Test, KnownDigests) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  for (size_t n : {55, 56, 63, 64, 65, 119, 120}) EXPECT_EQ(sha256(std::string(n, 'x')).size(), 64u);
}

TEST(ParallelForTest, CoversTheRangeOnceAndRethrows) {
  std::vector<int> hits(1001);
  parallel_for(hits.size(), 7, 3, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) ++hits[i];
  });
  EXPECT_EQ(std::count(hits.begin(), hits.end(), 1), 1001);
  EXPECT_THROW(parallel_for(100, 1, 3,
                            [](size_t begin, size_t) {
                              if (begin == 50) fail("stop");
                            }),
               InputError);
}

}  // namespace
}  // namespace qdqbert
