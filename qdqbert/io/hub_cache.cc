#include "qdqbert/io/hub_cache.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <sstream>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

namespace qdqbert::io {

namespace fs = std::filesystem;

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

/// "~" at the start stands for the home directory, as in Python's expanduser.
fs::path expanded(const std::string& path) {
  if (path.empty() || path[0] != '~' || (path.size() > 1 && path[1] != '/')) return path;
  return environment("HOME") + path.substr(1);
}

/// Letters, digits, '.', '_' and '-' in one or two parts: nothing that could leave the cache directory.
bool is_model_name(const std::string& name) {
  if (std::count(name.begin(), name.end(), '/') > 1 || name.find("..") != std::string::npos) return false;
  std::istringstream parts(name);
  for (std::string part; std::getline(parts, part, '/');)
    if (part.empty() || part[0] == '.' || part[0] == '-') return false;
  return !name.empty() && name.back() != '/' && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == '-' || c == '/';
  });
}

fs::path folder_of(const std::string& name) {
  std::string folder = "models--";
  for (const char c : name) folder += c == '/' ? std::string("--") : std::string(1, c);
  return folder;
}

std::optional<fs::path> snapshot(const fs::path& model, const std::string& revision) {
  std::string commit = revision;
  if (const fs::path ref = model / "refs" / revision; fs::is_regular_file(ref)) {
    commit = read_file(ref, 4096);
    while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back()))) commit.pop_back();
  }
  if (commit.empty() || commit.find('/') != std::string::npos || commit[0] == '.') return std::nullopt;
  const fs::path directory = model / "snapshots" / commit;
  if (!fs::is_directory(directory) || fs::is_empty(directory)) return std::nullopt;
  return directory;
}

}  // namespace

fs::path hub_cache_directory() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const std::string set = environment(name); !set.empty()) return expanded(set);
  if (const std::string home = environment("HF_HOME"); !home.empty()) return expanded(home) / "hub";
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty())
    return expanded(cache) / "huggingface" / "hub";
  return expanded("~/.cache/huggingface/hub");
}

fs::path resolve_model(const std::string& name_or_path, const std::string& revision,
                       const fs::path& cache_directory) {
  if (name_or_path.empty()) fail("[model] the model's name or path is empty");
  std::error_code ignored;
  if (fs::exists(name_or_path, ignored)) return name_or_path;
  if (!is_model_name(name_or_path))
    fail("[model] {} is neither a directory or file that exists nor the name of a model", name_or_path);
  if (revision.empty() || revision.find("..") != std::string::npos || revision[0] == '/')
    fail("[model] the revision \"{}\" is not valid", revision);
  const fs::path cache = cache_directory.empty() ? hub_cache_directory() : cache_directory;
  std::vector<std::string> names = {name_or_path};
  if (name_or_path.find('/') == std::string::npos) names.push_back("google-bert/" + name_or_path);
  bool known = false;
  for (const std::string& name : names) {
    const fs::path model = cache / folder_of(name);
    if (const auto found = snapshot(model, revision)) return *found;
    known = known || fs::is_directory(model, ignored);
  }
  if (known)
    fail("[model] the Hugging Face cache {} has {}, but not its revision \"{}\"", cache.string(),
         name_or_path, revision);
  fail(
      "[model] there is no directory {}, and the Hugging Face cache {} does not have a model of that name; "
      "download it with `huggingface-cli download {}` or pass a directory",
      name_or_path, cache.string(), name_or_path);
}

std::vector<fs::path> data_directories(const fs::path& flag) {
  std::vector<fs::path> out;
  if (!flag.empty()) out.push_back(flag);
  std::istringstream list(environment("QDQBERT_DATA_DIR"));
  for (std::string directory; std::getline(list, directory, ':');)
    if (!directory.empty()) out.push_back(expanded(directory));
  out.push_back("data");
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) out.push_back(program.parent_path().parent_path() / "share" / "qdqbert" / "data");
  return out;
}

const fs::path& DatasetFiles::file(Split split) const {
  const auto& path = path_of(split);
  if (!path)
    fail("[data] the {} split of {} is not there: looked for {}",
         split == Split::kTrain ? "train" : "validation", name_, searched_);
  return *path;
}

DatasetFiles find_dataset(const std::string& name, const std::vector<fs::path>& directories) {
  const char* version = name == "squad" ? "1.1" : name == "squad_v2" ? "2.0" : nullptr;
  if (!version)
    fail<UsageError>(
        "[data] the data set \"{}\" is unknown: known are squad and squad_v2; pass other data as a file "
        "(--train_file, --validation_file)",
        name);
  DatasetFiles files;
  files.name_ = name;
  std::vector<std::string> wanted;
  for (const auto& [split, word] :
       {std::pair{&files.train_, "train"}, std::pair{&files.validation_, "dev"}}) {
    for (const std::string& stem :
         {fmt::format("squad-v{}-{}", version, word), fmt::format("{}-v{}", word, version)}) {
      wanted.push_back(stem + ".json[.gz]");
      for (const fs::path& directory : directories)
        for (const fs::path& place : {directory, directory / name})
          for (const char* extension : {".json", ".json.gz"})
            if (const fs::path path = place / (stem + extension); !*split && fs::is_regular_file(path))
              *split = path;
    }
  }
  std::vector<std::string> places;
  places.reserve(directories.size());
  for (const fs::path& directory : directories) places.push_back(directory.string());
  files.searched_ = fmt::format("{} in {} (--data_dir or QDQBERT_DATA_DIR add directories)",
                                fmt::join(wanted, ", "), fmt::join(places, ", "));
  if (!files.train_ && !files.validation_)
    fail("[data] {} is not there: looked for {}", name, files.searched_);
  return files;
}

}  // namespace qdqbert::io
