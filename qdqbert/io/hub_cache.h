// Where models and data sets known by name lie on this machine. Nothing is downloaded.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace qdqbert::io {

/// The Hugging Face cache: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HF_HOME/hub,
/// else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
std::filesystem::path hub_cache_directory();

/// A directory or file that exists is returned as it is. Otherwise `name_or_path` is a model name
/// ("org/model" or "model", the latter also tried as "google-bert/model", where the BERT checkpoints moved
/// to) whose snapshot is looked up in `cache_directory` (empty: hub_cache_directory()); `revision` is a
/// branch, tag or commit. Throws InputError that says what was looked for and where.
std::filesystem::path resolve_model(const std::string& name_or_path, const std::string& revision = "main",
                                    const std::filesystem::path& cache_directory = {});

/// Directories for find_dataset in order: `flag` (unless empty), the entries of QDQBERT_DATA_DIR, ./data, and
/// the share directory of the installation.
std::vector<std::filesystem::path> data_directories(const std::filesystem::path& flag = {});

enum class Split { kTrain, kValidation };

/// The files of one data set. A split that was not found throws when it is asked for.
class DatasetFiles {
 public:
  bool has(Split split) const { return path_of(split).has_value(); }
  /// Throws InputError naming the data set, the split, the file names and the directories that were searched.
  const std::filesystem::path& file(Split split) const;

 private:
  friend DatasetFiles find_dataset(const std::string& name,
                                   const std::vector<std::filesystem::path>& directories);
  const std::optional<std::filesystem::path>& path_of(Split split) const {
    return split == Split::kTrain ? train_ : validation_;
  }
  std::string name_, searched_;
  std::optional<std::filesystem::path> train_, validation_;
};

/// Files of "squad" or "squad_v2": squad-v1.1-train, train-v1.1, squad-v1.1-dev, dev-v1.1 (v2.0 likewise),
/// each as .json or .json.gz, in each directory and its sub-directory of the data set's name. Throws
/// UsageError for another name and InputError when neither split is found.
DatasetFiles find_dataset(const std::string& name, const std::vector<std::filesystem::path>& directories);

}  // namespace qdqbert::io
