// qdqbert classify: texts, or pairs of texts, with a class, several classes or a number each.
#include <algorithm>
#include <map>

#include "qdqbert/base/error.h"
#include "qdqbert/train/classify_data.h"

#include "cli/task_labels.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;
using tasks::ClassifyKind;

class ClassifyTask : public Task {
 public:
  std::string verb() const override { return "classify"; }
  std::string samples() const override { return "texts"; }
  std::string class_name() const override { return "QDQBertForSequenceClassification"; }
  std::string default_metric() const override { return "loss"; }
  std::string about() const override {
    return "Classification of texts or pairs of texts: one label, several, or a number (regression). Data "
           "are .csv, .tsv, .jsonl or .json\n"
           "files, also .gz, with columns like sentence1, sentence2, label. Several actions may be combined; they run in the order\n"
           "calibrate, train, evaluate, predict, export and act on the same model.\n\n"
           "  fine-tune in FP32:           qdqbert classify --model_name_or_path BERT --train_file train.csv --validation_file dev.csv \\\n"
           "                                 --label_column_name category --do_train --do_eval --quant-disable --output_dir tuned\n"
           "  post-training quantization:  qdqbert classify --model_name_or_path tuned --train_file train.csv --validation_file dev.csv \\\n"
           "                                 --label_column_name category --do_calib --do_eval --calibrator "
           "percentile --percentile 99.99 \\\n"
           "                                 --output_dir calibrated\n"
           "  quantization-aware training: the first command from `calibrated`, without --quant-disable, with --learning_rate 1e-5\n"
           "  export for an INT8 engine:   qdqbert classify --model_name_or_path calibrated --save_onnx --output_dir exported";
  }

  void set_defaults(TaskOptions& o, TrainingFlags&) override {
    o.data.max_seq_length = 128;
    o.data.pad_to_max_length = true;
  }

  void add_flags(ArgumentParser& parser) override {
    parser.add("text_column_names", text_columns_,
               "column with the text, or two with a comma between for pairs (default: sentence1,sentence2, "
               "else text, else the first columns that are no label or id)");
    parser.add("text_column_delimiter", columns_.delimiter, "join the text columns by this into one text");
    parser.add("label_column_name", columns_.label, "column with the label");
    parser.add("label_separator", columns_.label_separator,
               "separates several labels of one field in CSV and TSV files, e.g. |");
    parser.add("no_label_marks", no_label_,
               "labels that mean that a row has none, with commas between, beside absent and empty ones "
               "(default: -1,-100,?,- unless the model has a label of that name)");
    parser.add("multi_label", multi_label_, "several labels per text (default: where labels are lists)");
    parser.add("do_regression", regression_,
               "labels are numbers to predict (default: where some have a decimal point)");
    parser.refuse("task_name",
                  "GLUE tasks are not downloaded; name the files with --train_file and --validation_file");
    parser.refuse("dataset_name",
                  "data sets are not downloaded; name the files with --train_file and --validation_file");
  }

  void check(TaskOptions&, const ArgumentParser& parser) override {
    if (!text_columns_.empty()) columns_.text = tasks::split_fields(text_columns_, ',');
    own_marks_ = parser.given("no_label_marks");
    if (own_marks_) columns_.no_label = tasks::split_fields(no_label_, ',');
    if (regression_ && multi_label_)
      fail<UsageError>("[classify] --do_regression and --multi_label exclude each other");
    if (regression_)
      columns_.kind = ClassifyKind::kRegression;
    else if (multi_label_)
      columns_.kind = ClassifyKind::kMultiLabel;
    else if (parser.given("do_regression") || parser.given("multi_label"))
      columns_.kind = ClassifyKind::kSingleLabel;
  }

  void configure(io::BertConfig& config, const TaskFiles& files, const TaskOptions& o,
                 const std::function<bool(const std::string&)>& in_checkpoint) override {
    const bool new_head = !in_checkpoint("classifier.weight");
    if (!new_head && !columns_.kind && !(o.run.do_train && o.model.ignore_mismatched_sizes))
      columns_.kind = kind_in(config);
    if (!own_marks_ && !new_head)
      std::erase_if(columns_.no_label, [names = labels_of(config)](const std::string& mark) {
        return std::find(names.begin(), names.end(), mark) != names.end();
      });
    const std::optional<fs::path> file = label_file(files, o.run);
    if (!file) {
      if (columns_.kind != ClassifyKind::kRegression) labels_ = tasks::LabelMap::of_model(labels_of(config));
      return;
    }
    const bool decides = o.run.do_train || o.run.do_eval || new_head;
    const tasks::ClassifyData& data = read(*file, decides);
    columns_.kind = data.kind;
    config.problem_type = data.kind == ClassifyKind::kRegression   ? io::ProblemType::kRegression
                          : data.kind == ClassifyKind::kMultiLabel ? io::ProblemType::kMultiLabel
                                                                   : io::ProblemType::kSingleLabel;
    if (data.kind == ClassifyKind::kRegression) {
      config.set_num_labels(1);
    } else if (decides) {
      labels_ = settle_labels(config, data.labels(), data.name, o, new_head);
    } else {
      labels_ = tasks::LabelMap::of_model(labels_of(config));
    }
  }

  std::unique_ptr<train::TaskData> open(TaskSplit split, const fs::path& file, std::optional<int64_t> limit,
                                        const train::TaskContext& context) override {
    const bool labels = split == TaskSplit::kTrain || split == TaskSplit::kEvaluation;
    tasks::ClassifyData data = read(file, labels);
    if (limit && static_cast<size_t>(*limit) < data.examples.size())
      data.examples.resize(static_cast<size_t>(*limit));
    if (split == TaskSplit::kCalibration) data.labelled = false;
    if (split == TaskSplit::kPrediction) settle_scoring(data);
    return std::make_unique<train::ClassifyData>(std::move(data), labels_, context);
  }

 private:
  static std::optional<ClassifyKind> kind_in(const io::BertConfig& config) {
    if (config.num_labels() == 1) return ClassifyKind::kRegression;
    if (!config.problem_type) return std::nullopt;
    switch (*config.problem_type) {
      case io::ProblemType::kRegression:
        return ClassifyKind::kRegression;
      case io::ProblemType::kMultiLabel:
        return ClassifyKind::kMultiLabel;
      case io::ProblemType::kSingleLabel:
        break;
    }
    return ClassifyKind::kSingleLabel;
  }

  /// Predictions are scored only where every row has a label that the model has.
  void settle_scoring(tasks::ClassifyData& data) const {
    if (data.unlabelled > 0)
      log_warning("{}: {} of {} rows have no label, so predictions are not scored", data.name,
                  data.unlabelled, data.examples.size());
    if (!data.labelled) return;
    for (const tasks::ClassifyExample& example : data.examples)
      for (const std::string& label : example.labels) {
        if (labels_.id(label)) continue;
        log_warning("{}: the model has no label \"{}\", so predictions are not scored; it has {}",
                    data.where(example), label, tasks::list_of_labels(labels_.names()));
        data.labelled = false;
        return;
      }
  }

  const tasks::ClassifyData& read(const fs::path& file, bool labels) {
    const auto key = std::pair(file, labels);
    if (const auto found = read_.find(key); found != read_.end()) return found->second;
    tasks::ClassifyColumns columns = columns_;
    columns.labels_required = labels;
    return read_.emplace(key, tasks::read_classify(file, columns)).first->second;
  }

  std::string text_columns_, no_label_;
  bool own_marks_ = false;
  bool multi_label_ = false, regression_ = false;
  tasks::ClassifyColumns columns_;
  tasks::LabelMap labels_;
  std::map<std::pair<fs::path, bool>, tasks::ClassifyData> read_;  ///< by file and whether labels are needed
};

}  // namespace

int run_classify(const Arguments& arguments) {
  ClassifyTask task;
  return run_task(task, arguments);
}

}  // namespace qdqbert::cli
