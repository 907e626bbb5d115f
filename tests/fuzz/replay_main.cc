// Runs a fuzz target over the files of the given directories (seeds and inputs that once failed) and over
// simple damages of each: every prefix of up to 200 lengths and 200 single-byte changes. No clang needed.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  size_t files = 0, runs = 0;
  const auto run = [&](const std::vector<uint8_t>& bytes) {
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    ++runs;
  };
  run({});
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) continue;
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(file)), {});
      ++files;
      run(bytes);
      const size_t step = bytes.size() / 200 + 1;
      for (size_t at = 0; at < bytes.size(); at += step) {
        run({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(at)});
        std::vector<uint8_t> damaged = bytes;
        damaged[at] ^= static_cast<uint8_t>(1u << (at % 8));
        run(damaged);
      }
    }
  }
  std::printf("%zu seeds, %zu runs\n", files, runs);
  return 0;
}
