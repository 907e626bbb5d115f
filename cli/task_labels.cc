#include "cli/task_labels.h"

#include "qdqbert/base/log.h"

namespace qdqbert::cli {

std::optional<std::filesystem::path> label_file(const TaskFiles& files, const TaskRunOptions& run) {
  if (run.do_train) return files.train;
  if (run.do_eval) return files.validation;
  if (run.do_calib) return files.calibration;
  if (run.do_predict) return files.test;
  return std::nullopt;
}

std::vector<std::string> labels_of(const io::BertConfig& config) {
  std::vector<std::string> labels;
  for (const auto& [id, label] : config.id2label) labels.push_back(label);
  return labels;
}

tasks::LabelMap settle_labels(io::BertConfig& config, const std::vector<std::string>& found,
                              const std::string& data_name, const TaskOptions& options, bool new_head) {
  const std::vector<std::string> before = labels_of(config);
  tasks::LabelChoice choice = tasks::choose_labels(found, before, options.run.do_train || new_head,
                                                   options.model.ignore_mismatched_sizes, data_name);
  if (choice.labels.names() != before) config.set_labels(choice.labels.names());
  if (choice.replaced)
    log_info("The model gets a new head for {}", tasks::list_of_labels(choice.labels.names()));
  return std::move(choice.labels);
}

}  // namespace qdqbert::cli
