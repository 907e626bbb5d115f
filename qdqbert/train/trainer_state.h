// What a training run knows about itself between two optimizer steps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "qdqbert/train/trainer_options.h"

namespace qdqbert::train {

struct TrainerState {
  int64_t global_step = 0;       ///< optimizer steps done
  int64_t micro_step = 0;        ///< batches that these steps have used
  int64_t finished_epochs = 0;   ///< passes whose end has been dealt with (evaluation, checkpoint)
  double epoch = 0;              ///< passes done, as a number with a fraction
  double loss_sum = 0;           ///< of the losses of all steps
  double logged_loss_sum = 0;    ///< of those in the log
  int64_t logged_step = 0;       ///< the last one in the log
  int64_t tokens = 0;            ///< without padding
  double flops = 0;              ///< 6 a weight and position, as the original's library counts
  int64_t poor_evaluations = 0;  ///< since the best one
  std::optional<double> best_metric;
  std::optional<std::string> best_checkpoint;  ///< name of the directory
  bool evaluation_due = false;                 ///< stopped before the evaluation of this step was done
  Json log_history = Json::array();

  /// trainer_state.json with the fields of the original's library (2 spaces, sorted keys).
  Json to_json(const TrainerOptions& options, const RunPlan& plan) const;
  /// The rest, for resume.json.
  Json resume_json() const;
  /// From both files. Throws InputError when a field is missing or has another type.
  static TrainerState from_json(const Json& state, const Json& resume, const std::string& name);
};

}  // namespace qdqbert::train
