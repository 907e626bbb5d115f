// The labels of a run: those of the data, those of the checkpoint, and what to do when they differ.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "qdqbert/io/bert_config.h"
#include "qdqbert/tasks/label_map.h"

#include "cli/task.h"

namespace qdqbert::cli {

/// The file whose labels decide: that of training, else of evaluation, prediction, calibration (whichever the
/// run reads first); nullopt when it reads none.
std::optional<std::filesystem::path> label_file(const TaskFiles& files, const TaskRunOptions& run);

/// Labels by number as the configuration has them.
std::vector<std::string> labels_of(const io::BertConfig& config);

/// tasks::choose_labels() of a run, written into `config`.
/// `new_head`: the checkpoint has none, so the data decide.
tasks::LabelMap settle_labels(io::BertConfig& config, const std::vector<std::string>& found,
                              const std::string& data_name, const TaskOptions& options, bool new_head);

}  // namespace qdqbert::cli
