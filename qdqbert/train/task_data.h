// The samples of a file as a model sees them, and what its outputs mean: what calibration, training,
// evaluation and prediction need to know about a task.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/log.h"
#include "qdqbert/tasks/token_rows.h"
#include "qdqbert/train/evaluate.h"
#include "qdqbert/train/trainer.h"

namespace qdqbert::train {

class TaskData : public TrainingData {
 public:
  /// Columns of a sample when batches are made in order; at least length().
  virtual int64_t width(int64_t sample) const = 0;
  /// False when rows cannot be made narrower than their width.
  virtual bool pads_right() const = 0;
  /// Model inputs without labels, `width` columns.
  virtual model::ModelInputs inputs(std::span<const int64_t> samples, int64_t width) const = 0;

  /// Forgets what was collected. `padded`: rows will have their full width, and what the model says about
  /// padding counts where it counts in the original.
  virtual void begin_evaluation(bool padded) = 0;
  /// Outputs of the inputs of these samples (logits, or start and end logits; float32);
  /// every sample comes once, in any order.
  virtual void collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) = 0;
  /// Whether metrics() says anything: the samples have labels.
  virtual bool scored() const = 0;
  /// Of all that was collected; names without "eval_".
  virtual Json metrics() const = 0;
  /// Files that begin with `prefix`: "eval", "predict".
  virtual void write_predictions(const std::filesystem::path& directory, const std::string& prefix) const = 0;

  /// The loss of a batch() where it is not the model's own; nullptr otherwise.
  virtual std::function<at::Tensor(model::PreTrainedModel&, const model::ModelInputs&,
                                   const model::ForwardOptions&)>
  loss() const {
    return nullptr;
  }
};

/// Runs the model over all samples and lets `data` collect. With fixed ranges, and padding on the right,
/// samples are grouped by length, padded to the longest of a batch only and as many at a time as fill
/// batch_size rows of full width. Otherwise batches are as the original's: in order, batch_size samples,
/// padded to the samples' width. kFloat64 converts the model and back, which is exact.
///
/// With a group each rank runs every size-th of these batches and all collect all outputs, in the order and
/// with the bits of one process.
void run_over(model::PreTrainedModel& model, TaskData& data, int64_t batch_size,
              const ProgressSink& progress = {}, Precision precision = Precision::kFloat32,
              ProcessGroup* group = nullptr);

/// Rows of tokens as int64 tensors [rows, width].
model::ModelInputs inputs_of(const tasks::TokenRows& rows, std::span<const int64_t> samples, int64_t width);

/// -log softmax(logits)[label], in double precision.
double negative_log_likelihood(std::span<const float> logits, size_t label);

/// A mean of losses.
struct MeanLoss {
  double sum = 0;
  int64_t count = 0;
  void add(double loss) {
    sum += loss;
    ++count;
  }
  double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
};

/// What a task's data are made with.
struct TaskContext {
  const text::Tokenizer& tokenizer;
  int64_t max_length = 128;
  bool pad_to_max_length = true;
  int threads = 1;
  uint64_t seed = 42;
  /// Widths of training batches are rounded up to a multiple of this, as the original does in half precision
  /// when it pads to the longest sample.
  int64_t width_multiple = 1;
  ProgressSink progress{};
};

/// Columns of a training batch: the widest of its samples, rounded up.
int64_t batch_width(const TaskData& data, std::span<const int64_t> samples, int64_t multiple);

/// TaskData over one row of tokens per sample.
class RowData : public TaskData {
 public:
  int64_t size() const override { return static_cast<int64_t>(rows_.size()); }
  int64_t length(int64_t sample) const override {
    return static_cast<int64_t>(rows_.length(static_cast<size_t>(sample)));
  }
  int64_t width(int64_t sample) const override { return padded_width_ > 0 ? padded_width_ : length(sample); }
  bool pads_right() const override { return rows_.pads_right(); }
  model::ModelInputs inputs(std::span<const int64_t> samples, int64_t width) const override {
    return inputs_of(rows_, samples, width);
  }

 protected:
  void set_rows(tasks::TokenRows rows, const TaskContext& context) {
    rows_ = std::move(rows);
    padded_width_ = context.pad_to_max_length ? context.max_length : 0;
    width_multiple_ = context.width_multiple;
  }
  int64_t batch_width(std::span<const int64_t> samples) const {
    return train::batch_width(*this, samples, width_multiple_);
  }
  const tasks::TokenRows& rows() const { return rows_; }

 private:
  tasks::TokenRows rows_;
  int64_t padded_width_ = 0;  ///< 0: rows are padded to the longest of a batch
  int64_t width_multiple_ = 1;
};

}  // namespace qdqbert::train
