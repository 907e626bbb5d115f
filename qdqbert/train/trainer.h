// The training loop: any model class, any task.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "qdqbert/base/log.h"
#include "qdqbert/model/bert_model.h"
#include "qdqbert/train/device_steps.h"
#include "qdqbert/train/process_group.h"
#include "qdqbert/train/trainer_options.h"
#include "qdqbert/train/trainer_state.h"

namespace qdqbert::train {

/// The samples of a task.
class TrainingData {
 public:
  virtual ~TrainingData() = default;
  virtual int64_t size() const = 0;
  /// Tokens of a sample without padding.
  virtual int64_t length(int64_t sample) const = 0;
  /// One batch with labels, on the CPU. A function of `samples` and, for tasks that draw (masked tokens), of
  /// `micro_step` alone, so that a resumed run sees the same.
  virtual model::ModelInputs batch(std::span<const int64_t> samples, int64_t micro_step) = 0;
  /// Loss of a model that gives every answer the same score on such a batch; nullopt when that means nothing.
  virtual std::optional<double> chance_loss(const model::ModelInputs&) const { return std::nullopt; }
};

/// One optimizer step, for those who watch.
struct StepReport {
  int64_t step = 0, max_steps = 0;
  double loss = 0;
  double gradient_norm = 0;  ///< before clipping
  double learning_rate = 0;  ///< that the step used
  double tokens_per_second = 0;
};

/// Called on the training thread. On a GPU on_step() comes one step late, when its numbers are there.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  virtual void on_start(const TrainerState&, const RunPlan&) {}
  /// May change what is trained (freeze parameters); a function of the step alone.
  virtual void before_step(int64_t /*step*/, int64_t /*max_steps*/) {}
  virtual void on_step(const StepReport&) {}
  /// `values`: loss, grad_norm, learning_rate, epoch.
  virtual void on_log(int64_t /*step*/, const Json& /*values*/) {}
  /// `metrics`: names begin with "eval_".
  virtual void on_evaluate(int64_t /*step*/, const Json& /*metrics*/) {}
  virtual void on_checkpoint(int64_t /*step*/, const std::filesystem::path&) {}
  virtual void on_end(const Json& /*metrics*/) {}
};

/// What differs from task to task and from program to program.
struct TrainerHooks {
  /// The loss of a batch; default: the model's own, smoothed as the options say.
  std::function<at::Tensor(const model::ModelInputs&)> loss;
  /// Metrics of the model as it is, without "eval_".
  std::function<Json()> evaluate;
  /// What belongs into a checkpoint besides weights, config.json and the files of the trainer: tokenizer, ...
  std::function<void(const std::filesystem::path&)> save_extras;
  std::string default_metric = "loss";  ///< for load_best_model_at_end
  /// Also in training_args.json; what is in it has to be equal when a run is resumed.
  Json identity = Json::object();
  std::vector<TrainingObserver*> observers;
  ProgressSink progress;  ///< may throw; a checkpoint is written then
  /// Trains together with the other ranks, which run the same Trainer over the same samples:
  /// a global batch is `batch_size` samples a rank, gradients are those of the mean over all of
  /// them, rank 0 writes. `evaluate` is called on all ranks. When a rank is lost, rank 0 writes
  /// a checkpoint before the error goes on.
  ProcessGroup* group = nullptr;
};

struct TrainingResult {
  TrainerState state;
  Json metrics;  ///< train_runtime, train_samples_per_second, train_steps_per_second, train_loss, total_flos,
                 ///< epoch; on a GPU also train_peak_gpu_memory (bytes)
};

class Trainer {
 public:
  /// Trains where the model lies. `output` receives checkpoints. Throws UsageError
  /// as TrainerOptions::validate() and for fp16 on a CPU, InputError when nothing
  /// is left to train or there is no sample.
  Trainer(model::PreTrainedModel& model, TrainingData& data, TrainerOptions options, TrainerHooks hooks,
          std::filesystem::path output);

  /// Trains to the end, from the beginning or from a checkpoint directory; after it the model holds the last
  /// weights, or the best ones. The losses that follow a resumed checkpoint are those of a run that was never
  /// stopped, bit for bit, on the same machine. A loss or gradient that is not finite ends the run with an
  /// Error that names step and batch file; checkpoints stay. With fp16 a gradient that overflows leaves its
  /// step out instead. A GPU without memory for a batch ends the run with an Error that names it, after a
  /// checkpoint has been written, and so does what `progress` throws.
  TrainingResult run(const std::optional<std::filesystem::path>& resume_from = std::nullopt);

  const RunPlan& plan() const { return plan_; }

 private:
  struct Batch {
    model::ModelInputs inputs;     ///< on the CPU
    model::ModelInputs on_device;  ///< the same tensors where the model lies
    int64_t micro_step = 0, samples = 0, tokens = 0;
    double weight = 1;  ///< of this rank's mean in the mean over all ranks' samples
  };
  void train_steps();
  void run_steps();
  int64_t rank() const { return hooks_.group ? hooks_.group->rank() : 0; }
  /// Number of a batch among those of all ranks: no two draw the same random numbers.
  uint64_t draw_number(int64_t micro_step) const;
  void show_progress();
  void load_epoch(int64_t epoch);
  Batch make_batch(int64_t micro_step);
  at::Tensor forward(const Batch& batch);
  void train_batch(const Batch& batch);
  void end_step(const Batch& batch, double seconds);
  double finish_gradients(const Batch& batch);
  void account(const StepReport& report, double flops, int64_t tokens);
  bool is_due(Interval interval, int64_t every) const;
  void after_step();
  void end_epoch(int64_t epoch);

  // trainer_device.cc
  struct Unread {
    nn::ReadBack numbers;
    StepReport report;
    Batch batch;
  };
  Batch take_batch(int64_t micro_step);
  void fetch_next(int64_t micro_step);
  void end_device_step(const Batch& batch);
  void settle();
  std::string memory_text() const;
  [[noreturn]] void refuse_for_memory(const Batch& batch, bool between_steps, const std::exception& error);

  // trainer_events.cc
  void append_log(Json values);
  void log_losses();
  void check_chance(double mean_loss, int64_t steps);
  void evaluate(bool saved_next);
  void save();
  void write_own_checkpoint();
  void save_before_stopping();
  void write_files(const std::filesystem::path& directory) const;
  void restore(const std::filesystem::path& directory);
  void load_best();
  [[noreturn]] void refuse_batch(const Batch& batch, int64_t step, const std::string& what);

  model::PreTrainedModel& model_;
  TrainingData& data_;
  TrainerOptions options_;
  TrainerHooks hooks_;
  std::filesystem::path output_;
  RunPlan plan_;
  Schedule schedule_;
  std::vector<nn::NamedTensor> parameters_;
  at::Device device_;
  std::optional<AdamW> optimizer_;
  std::optional<DeviceSteps> device_steps_;  ///< unless the model lies on the CPU
  std::optional<Batch> next_batch_;          ///< on its way to the device
  std::optional<Unread> unread_;             ///< the last step, whose numbers nobody has read
  std::optional<GradientAverage> average_;
  TrainerState state_;
  std::string metric_;
  bool greater_is_better_ = true, stop_ = false, warned_of_chance_ = false;
  int64_t order_epoch_ = -1;
  std::vector<int64_t> order_, lengths_;
  double weights_beside_embeddings_ = 0;
  double pending_loss_ = 0, pending_flops_ = 0, last_norm_ = 0;
  int64_t pending_tokens_ = 0, samples_seen_ = 0;
  double chance_sum_ = 0;
  int64_t chance_batches_ = 0;
  double tokens_per_second_ = 0;
};

}  // namespace qdqbert::train
