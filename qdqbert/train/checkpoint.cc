#include "qdqbert/train/checkpoint.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/log.h"
#include "qdqbert/io/checkpoint.h"
#include "qdqbert/io/safetensors.h"

namespace qdqbert::train {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "checkpoint-";
constexpr std::string_view kWriting = ".writing-checkpoint-";
constexpr std::string_view kRemoving = ".removing-checkpoint-";

void flush_directory(const fs::path& directory) {
  const int handle = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY);
  if (handle < 0)
    fail<SystemError>("[checkpoint] cannot open {}: {}", directory.string(), std::strerror(errno));
  ::fsync(handle);
  ::close(handle);
}

/// Under a name that nobody takes for a checkpoint, so that a removal that is
/// interrupted leaves none that is half.
fs::path hide_checkpoint(const fs::path& directory) {
  const fs::path hidden =
      directory.parent_path() / (std::string(kRemoving) + std::to_string(*checkpoint_step(directory)));
  fs::remove_all(hidden);
  fs::rename(directory, hidden);
  return hidden;
}

void remove_checkpoint(const fs::path& directory) {
  fs::remove_all(hide_checkpoint(directory));
}

std::vector<fs::path> checkpoints(const fs::path& output) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(output, ignored))
    if (entry.is_directory() && checkpoint_step(entry.path())) found.push_back(entry.path());
  std::sort(found.begin(), found.end(),
            [](const fs::path& a, const fs::path& b) { return *checkpoint_step(a) < *checkpoint_step(b); });
  return found;
}

/// Removes the directory unless kept.
struct HiddenDirectory {
  fs::path path;
  bool keep = false;
  ~HiddenDirectory() {
    std::error_code ignored;
    if (!keep) fs::remove_all(path, ignored);
  }
};

}  // namespace

std::optional<int64_t> checkpoint_step(const fs::path& directory) {
  const std::string name = directory.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t step = 0;
  const char *first = name.data() + kPrefix.size(), *last = name.data() + name.size();
  const auto [end, error] = std::from_chars(first, last, step);
  if (first == last || *first == '-' || error != std::errc() || end != last) return std::nullopt;
  return step;
}

fs::path write_checkpoint(const fs::path& output, int64_t step,
                          const std::function<void(const fs::path&)>& fill) {
  HiddenDirectory hidden{output / (std::string(kWriting) + std::to_string(step))};
  try {
    fs::remove_all(hidden.path);
    fs::create_directories(hidden.path);
    fill(hidden.path);
    flush_directory(hidden.path);
    const fs::path target = output / (std::string(kPrefix) + std::to_string(step));
    std::optional<fs::path> before;
    if (fs::exists(target)) before = hide_checkpoint(target);
    fs::rename(hidden.path, target);
    hidden.keep = true;
    flush_directory(output);
    if (before) fs::remove_all(*before);
    return target;
  } catch (const fs::filesystem_error& error) {
    fail<SystemError>("[checkpoint] step {} could not be saved in {}: {}", step, output.string(),
                      error.code().message());
  }
}

std::string checkpoint_fault(const fs::path& directory) {
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored)) return "it is not a directory";
  if (!fs::exists(directory / kResumeFile, ignored))
    return fs::exists(directory / "optimizer.pt", ignored)
               ? "it was written by another program, whose optimizer state is not read; start from it "
                 "as a model (--model_name_or_path)"
               : fmt::format("{} is missing, so it was not written to its end", kResumeFile);
  try {
    const Json resume = read_json(directory / kResumeFile);
    const auto step = resume.at("global_step").get<int64_t>();
    if (const auto named = checkpoint_step(directory); named && *named != step)
      return fmt::format("its name says step {}, {} says {}", *named, kResumeFile, step);
    read_json(directory / kStateFile);
    io::SafetensorsFile::open(directory / kOptimizerFile);
    io::Checkpoint::open(directory);
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

std::optional<fs::path> last_checkpoint(const fs::path& output) {
  std::vector<fs::path> found = checkpoints(output);
  for (; !found.empty(); found.pop_back()) {
    const std::string fault = checkpoint_fault(found.back());
    if (fault.empty()) return found.back();
    log_warning("{} is ignored: {}", found.back().string(), fault);
  }
  return std::nullopt;
}

void rotate_checkpoints(const fs::path& output, int64_t limit, const std::optional<fs::path>& best) {
  std::vector<fs::path> found = checkpoints(output);
  auto excess = static_cast<int64_t>(found.size()) - limit;
  if (found.empty()) return;
  found.pop_back();
  for (const fs::path& path : found) {
    if (excess <= 0) return;
    if (best && path.filename() == best->filename()) continue;
    remove_checkpoint(path);
    --excess;
  }
}

bool remove_leftovers(const fs::path& output) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(output, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kWriting) || name.starts_with(kRemoving)) found.push_back(entry.path());
  }
  for (const fs::path& path : found) {
    log_warning("{} is left from a run that was stopped while it saved; it is removed", path.string());
    fs::remove_all(path, ignored);
  }
  return !found.empty();
}

int64_t remove_checkpoints(const fs::path& output) {
  const std::vector<fs::path> found = checkpoints(output);
  for (const fs::path& path : found) remove_checkpoint(path);
  return static_cast<int64_t>(found.size());
}

}  // namespace qdqbert::train
