// The source tree as text, for tests of the repository as a whole.
#pragma once

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace qdqbert::testing {

namespace fs = std::filesystem;

inline const fs::path kSource = QDQBERT_SOURCE_DIR;
inline const fs::path kBin = fs::path(QDQBERT_BINARY_DIR) / "bin";

inline std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Standard output and error of a command line.
inline std::string output_of(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return "";
  std::string out;
  std::array<char, 4096> buffer;
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), n);
  pclose(pipe);
  return out;
}

/// Files of the source tree that people write: no data, no build folders.
inline std::vector<fs::path> written_files() {
  static const std::set<std::string> kinds = {".h",  ".cc",   ".inc", ".md", ".txt", ".cmake",
                                              ".in", ".json", ".py",  ".sh", ""};
  std::vector<fs::path> files;
  for (auto it = fs::recursive_directory_iterator(kSource); it != fs::recursive_directory_iterator(); ++it) {
    const std::string name = it->path().filename().string();
    const bool build = it.depth() == 0 && name.starts_with("build");
    if (it->is_directory() &&
        (build || name == ".git" || name == ".cache" || name == "golden" || name == "seeds")) {
      it.disable_recursion_pending();
      continue;
    }
    if (it->is_regular_file() && it->file_size() < 1'000'000 && kinds.count(it->path().extension().string()))
      files.push_back(it->path());
  }
  return files;
}

}  // namespace qdqbert::testing
