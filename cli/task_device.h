// Where a task's model computes, and in which precision; one line says what was chosen.
#pragma once

#include <optional>
#include <string>

#include "qdqbert/train/device.h"
#include "qdqbert/train/evaluate.h"
#include "qdqbert/train/process_group.h"
#include "qdqbert/train/trainer_options.h"

#include "cli/task_options.h"

namespace qdqbert::cli {

/// What --device asks for, on this process. All ranks of a group get devices of one kind, connected with each
/// other. Throws UsageError as train::choose_device(), LostRank when the ranks differ.
at::Device choose_device(const std::string& flag, const std::optional<train::Launch>& launch,
                         train::ProcessGroup* group);

/// What --fp16 and --bf16 mean on `device`; a training is told, too.
train::Precision choose_precision(const TaskRunOptions& run, at::Device device,
                                  std::optional<train::TrainerOptions>& trainer);

}  // namespace qdqbert::cli
