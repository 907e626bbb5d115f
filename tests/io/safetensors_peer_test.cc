// Our files against the reference library from PyPI (safetensors, numpy), run by QDQBERT_PYTHON or python3.
#include <cstdlib>
#include <cstring>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "qdqbert/base/file.h"
#include "qdqbert/io/safetensors.h"

#include "tests/support/scratch_directory.h"

namespace qdqbert::io {
namespace {

template <class T, class Convert>
OwnedTensor counting(DType dtype, Shape shape, Convert&& convert) {
  OwnedTensor tensor{dtype, shape, {}};
  const size_t count = static_cast<size_t>(element_count(shape));
  tensor.data.resize(count * sizeof(T));
  for (size_t i = 0; i < count; ++i) {
    const T value = convert(i);
    std::memcpy(tensor.data.data() + i * sizeof(T), &value, sizeof(T));
  }
  return tensor;
}

TEST(SafetensorsPeerTest, TheReferenceReadsOursAndWritesTheSameBytes) {
  const auto plain = [](auto zero) { return [zero](size_t i) { return static_cast<decltype(zero)>(i); }; };
  const std::vector<std::pair<std::string, OwnedTensor>> all = {
      {"z.f32", counting<float>(DType::kF32, {3, 5}, plain(0.0f))},
      {"a.f32.scalar", counting<float>(DType::kF32, {}, plain(0.0f))},
      {"f64", counting<double>(DType::kF64, {4}, plain(0.0))},
      {"f16", counting<uint16_t>(DType::kF16, {2, 2, 2},
                                 [](size_t i) { return float_to_half(static_cast<float>(i)); })},
      {"i64", counting<int64_t>(DType::kI64, {3}, plain(int64_t{0}))},
      {"i32", counting<int32_t>(DType::kI32, {3}, plain(int32_t{0}))},
      {"i16", counting<int16_t>(DType::kI16, {3}, plain(int16_t{0}))},
      {"i8", counting<int8_t>(DType::kI8, {3}, plain(int8_t{0}))},
      {"u8", counting<uint8_t>(DType::kU8, {7}, plain(uint8_t{0}))},
      {"bool", counting<uint8_t>(DType::kBool, {2}, plain(uint8_t{0}))},
      {"empty", counting<float>(DType::kF32, {0, 4}, plain(0.0f))},
      {"name \"with\" é and \\ and \t", counting<float>(DType::kF32, {1}, plain(0.0f))},
      {"bf16", counting<uint16_t>(DType::kBF16, {6},
                                  [](size_t i) { return float_to_bfloat16(static_cast<float>(i)); })}};
  std::vector<NamedTensor> with, without;
  for (const auto& [name, tensor] : all) {
    with.push_back({name, tensor.view()});
    if (tensor.dtype != DType::kBF16) without.push_back({name, tensor.view()});
  }
  const ScratchDirectory scratch;
  write_safetensors(scratch / "ours", with, {{"format", "pt"}});
  write_safetensors(scratch / "expected", without, {{"format", "pt"}});

  const char* python = std::getenv("QDQBERT_PYTHON");
  const std::string command = std::string(python && *python ? python : "python3") +
                              " " QDQBERT_SOURCE_DIR "/tests/io/safetensors_peer.py " +
                              (scratch / "ours").string() + " " + (scratch / "theirs").string() + " > " +
                              (scratch / "log").string() + " 2>&1";
  const int status = std::system(command.c_str());
  const std::string log = read_file(scratch / "log");
  if (WIFEXITED(status) && (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127))
    FAIL() << "the PyPI packages safetensors and numpy are needed: " << log;
  ASSERT_EQ(status, 0) << log;
  EXPECT_EQ(log, "13 tensors\n");
  EXPECT_TRUE(read_file(scratch / "theirs") == read_file(scratch / "expected"));
}

}  // namespace
}  // namespace qdqbert::io
