// What a verb of qdqbert-train says about its task; the road that all of them share is cli/task_run.h.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "qdqbert/train/task_data.h"

#include "cli/task_options.h"
#include "cli/training_options.h"

namespace qdqbert::cli {

enum class TaskSplit { kCalibration, kTrain, kEvaluation, kPrediction };

struct TaskFiles {
  std::optional<std::filesystem::path> calibration, train, validation, test;
};

/// A model that has been loaded, for work that is not one of the usual actions.
struct LoadedTask {
  model::PreTrainedModel& model;
  const text::Tokenizer& tokenizer;
  const std::filesystem::path& output;
  const TaskOptions& options;
};

class Task {
 public:
  virtual ~Task() = default;

  virtual std::string verb() const = 0;
  virtual std::string about() const = 0;    ///< paragraph of --help
  virtual std::string samples() const = 0;  ///< "questions", "texts": in help and messages
  /// Class of the model; may depend on flags.
  virtual std::string class_name() const = 0;
  virtual std::string default_metric() const = 0;  ///< for load_best_model_at_end

  virtual void set_defaults(TaskOptions&, TrainingFlags&) {}
  /// Flags of the data, behind those that all verbs have.
  virtual void add_flags(ArgumentParser& parser) = 0;
  /// Throws UsageError for flags that contradict each other.
  virtual void check(TaskOptions&, const ArgumentParser&) {}
  /// Something to do besides the usual actions.
  virtual bool has_other_work() const { return false; }
  virtual void other_work(const LoadedTask&) {}

  /// Adds files that flags name in another way than --train_file and the like.
  virtual void find_files(TaskFiles&, const TaskOptions&) {}
  /// Where an export takes ranges from that the model does not have.
  virtual std::optional<std::filesystem::path> sample_file(const TaskFiles& files, const TaskOptions&) {
    return files.validation;
  }
  /// Sets labels before the model is made.
  /// `in_checkpoint`: whether the checkpoint holds a tensor of this name.
  virtual void configure(io::BertConfig&, const TaskFiles&, const TaskOptions&,
                         const std::function<bool(const std::string&)>& /*in_checkpoint*/) {}

  /// The samples of a file, of its first `limit` examples.
  virtual std::unique_ptr<train::TaskData> open(TaskSplit split, const std::filesystem::path& file,
                                                std::optional<int64_t> limit,
                                                const train::TaskContext& context) = 0;
  /// For quantization.json and training_args.json, beside max_seq_length: what features depend on.
  virtual Json feature_settings() const { return Json::object(); }
  /// Writes what belongs beside a checkpoint or an exported file. `has_weights`: the directory has this model's.
  virtual void save_beside(const std::filesystem::path& /*directory*/, const model::PreTrainedModel&,
                           bool /*has_weights*/) const {}
  /// Adds to the file of --json. `metrics` without "eval_".
  virtual void report(Json& report, const Json& metrics, const train::TaskData& data) const;
};

/// The verb: flags, then everything that they ask for. Returns the exit code.
int run_task(Task& task, const Arguments& arguments);

}  // namespace qdqbert::cli
