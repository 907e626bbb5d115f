// The arrows of the house (ARCHITECTURE.md): which room may include which,
// and who sees LibTorch and intrinsics.
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"base", {}},
    {"products", {"base"}},
    {"text", {"base"}},
    {"io", {"base"}},
    {"quant", {"base"}},
    {"onnx", {"base"}},
    {"tasks", {"base", "io", "text"}},
    {"engine", {"base", "products"}},
    {"pipeline", {"base", "engine", "io", "tasks", "text"}},
    {"report", {"base"}},
    {"nn", {"base", "products", "quant"}},
    {"model", {"base", "quant", "nn", "io", "onnx"}},
    {"train", {"base", "quant", "nn", "io", "onnx", "model", "tasks", "text", "report"}},
};
const std::set<std::string> kTorchRooms = {"nn", "model", "train"};

bool is_source(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".h" || extension == ".cc" || extension == ".inc";
}

/// Complaints about one file of `room`; `lines` is its text.
std::vector<std::string> complaints_about(const std::string& file, const std::string& room,
                                          std::istream& lines) {
  static const std::regex include(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  static const std::regex isa_suffix(R"(_(avx2|avxvnni|avx512|avx512vnni|amxint8)\.cc$)");
  std::vector<std::string> complaints;
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (!std::regex_search(line, match, include)) continue;
    const std::string target = match[2];
    if (target.starts_with("qdqbert/") && target.find('/', 8) != std::string::npos) {
      const std::string other = target.substr(8, target.find('/', 8) - 8);
      const std::set<std::string>& allowed = kMayInclude.at(room);
      if (other != room && !allowed.contains(other)) {
        std::string list;
        for (const std::string& name : allowed) list += (list.empty() ? "" : ", ") + name;
        complaints.push_back(file + " includes " + target + ": " + room + " may use " +
                             (list.empty() ? "no room" : "only " + list));
      }
    }
    if (target.starts_with("cli/") || target.starts_with("tests/") || target.starts_with("benchmarks/"))
      complaints.push_back(file + " includes " + target + ": no room uses a door");
    const bool torch =
        target.starts_with("torch/") || target.starts_with("ATen/") || target.starts_with("c10/");
    if (torch && !kTorchRooms.contains(room))
      complaints.push_back(file + " includes " + target + ": LibTorch belongs to nn, model and train");
    if (target.starts_with("oneapi/") && file != "qdqbert/products/onednn.cc")
      complaints.push_back(file + " includes " + target + ": oneDNN belongs to products/onednn.cc");
    const bool intrinsics = target.find("intrin.h") != std::string::npos;
    if (intrinsics && !std::regex_search(file, isa_suffix))
      complaints.push_back(file + " includes " + target + ": intrinsics belong to files with an ISA suffix");
    if (!intrinsics && std::regex_search(file, isa_suffix) && match[1] == "<" && target != "stddef.h" &&
        target != "stdint.h")
      complaints.push_back(file + " includes <" + target +
                           ">: a file with an ISA suffix includes no header with inline code");
  }
  return complaints;
}

TEST(IncludeScan, EveryArrowPointsDown) {
  const fs::path root = fs::path(QDQBERT_SOURCE_DIR) / "qdqbert";
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file() || !is_source(entry.path())) continue;
    const fs::path relative = fs::relative(entry.path(), root);
    if (!relative.has_parent_path()) continue;  // umbrellas
    const std::string room = relative.begin()->string();
    ASSERT_TRUE(kMayInclude.count(room)) << room << " is not a room that this test knows";
    std::ifstream lines(entry.path());
    for (const std::string& complaint : complaints_about("qdqbert/" + relative.string(), room, lines))
      ADD_FAILURE() << complaint;
    ++files;
  }
  EXPECT_GT(files, 50);
}

TEST(IncludeScan, NamesTheWrongArrow) {
  const auto first = [](const std::string& file, const std::string& room, const std::string& line) {
    std::istringstream lines(line);
    const auto complaints = complaints_about(file, room, lines);
    return complaints.empty() ? "" : complaints[0];
  };
  EXPECT_EQ(first("qdqbert/text/x.cc", "text", "#include \"qdqbert/tasks/y.h\""),
            "qdqbert/text/x.cc includes qdqbert/tasks/y.h: text may use only base");
  EXPECT_NE(first("qdqbert/engine/x.cc", "engine", "#include <torch/torch.h>"), "");
  EXPECT_NE(first("qdqbert/nn/x.cc", "nn", "#include <oneapi/dnnl/dnnl.h>"), "");
  EXPECT_EQ(first("qdqbert/products/onednn.cc", "products", "#include <oneapi/dnnl/dnnl.h>"), "");
  EXPECT_NE(first("qdqbert/engine/x.cc", "engine", "#include <immintrin.h>"), "");
  EXPECT_EQ(first("qdqbert/engine/x_avx2.cc", "engine", "#include <immintrin.h>"), "");
  EXPECT_NE(first("qdqbert/engine/x_avx2.cc", "engine", "#include <vector>"), "");
  EXPECT_EQ(first("qdqbert/tasks/x.cc", "tasks", "#include \"qdqbert/text/y.h\""), "");
  EXPECT_EQ(first("qdqbert/pipeline/x.cc", "pipeline", "#include \"qdqbert/engine/y.h\""), "");
  EXPECT_NE(first("qdqbert/engine/x.cc", "engine", "#include \"qdqbert/pipeline/y.h\""), "");
}

}  // namespace
