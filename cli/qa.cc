// qdqbert qa: question answering with the flags of the QDQBERT SQuAD example.
#include <algorithm>

#include "qdqbert/base/error.h"
#include "qdqbert/io/hub_cache.h"
#include "qdqbert/tasks/squad_evaluation.h"
#include "qdqbert/train/squad_data.h"

#include "cli/task.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;

class QaTask : public Task {
 public:
  std::string verb() const override { return "qa"; }
  std::string samples() const override { return "questions"; }
  std::string class_name() const override { return "QDQBertForQuestionAnswering"; }
  std::string default_metric() const override { return "f1"; }
  std::string about() const override {
    return "Question answering with the flags of the QDQBERT SQuAD example. Several actions may be combined; they run in the order\n"
           "calibrate, train, evaluate, predict, export and act on the same model.\n\n"
           "  post-training quantization:  qdqbert qa --model_name_or_path M --dataset_name squad --do_calib --do_eval \\\n"
           "                                 --calibrator percentile --percentile 99.999 --output_dir calibrated\n"
           "  quantization-aware training: qdqbert qa --model_name_or_path calibrated --dataset_name squad --do_train --do_eval \\\n"
           "                                 --learning_rate 1e-5 --num_train_epochs 2 --output_dir trained\n"
           "  fine-tuning in FP32:         the same with --quant-disable on a model that was not fine-tuned before\n"
           "  export for an INT8 engine:   qdqbert qa --model_name_or_path calibrated --save_onnx --output_dir exported";
  }

  void set_defaults(TaskOptions& o, TrainingFlags& training) override {
    o.data.max_seq_length = 384;
    o.data.pad_to_max_length = true;
    training.lr_scheduler_type = "cosine";  // the original always takes it
  }

  void add_flags(ArgumentParser& parser) override {
    parser.add("dataset_name", dataset_name_, "squad or squad_v2, looked up in --data_dir");
    parser.add("dataset_config_name", dataset_config_name_, "accepted, has no effect on SQuAD");
    parser.add("data_dir", data_dir_, "where data sets lie (also QDQBERT_DATA_DIR; default ./data)");
    parser.add("version_2_with_negative", answers_.version_2, "questions may have no answer (SQuAD v2)");
    parser.add("null_score_diff_threshold", answers_.null_score_diff_threshold,
               "no answer when its score is ahead by more than this");
    parser.add("doc_stride", doc_stride_, "tokens that consecutive windows of a long context share");
    parser.add("n_best_size", answers_.n_best_size, "candidates kept for each question");
    parser.add("max_answer_length", answers_.max_answer_length, "longest answer, in tokens");
    parser.add(
        "strict_offsets", strict_offsets_,
        "refuse training files in which an answer does not stand where it says, instead of leaving it out");
    parser.add(
        "fix_labels", fix_labels_,
        "label an answer that begins in the last token of a window with that token (the original does not)");
  }

  void check(TaskOptions& o, const ArgumentParser&) override {
    const auto positive = [](std::string_view flag, int64_t value) {
      if (value < 1) fail<UsageError>("[{}] {}; at least 1 is needed", flag, value);
    };
    positive("max_seq_length", o.data.max_seq_length);
    positive("max_answer_length", answers_.max_answer_length);
    if (doc_stride_ < 0) fail<UsageError>("[doc_stride] {} is negative", doc_stride_);
    if (answers_.n_best_size < 0) fail<UsageError>("[n_best_size] {} is negative", answers_.n_best_size);
  }

  void find_files(TaskFiles& files, const TaskOptions& o) override {
    const auto from_set = [&](bool asked, std::optional<fs::path>& file, io::Split split, const char* action,
                              const char* flag) {
      if (!asked || file) return;
      if (!dataset_name_)
        fail<UsageError>("[qa] {} needs data: give --dataset_name squad or {} FILE", action, flag);
      file = dataset().file(split);
    };
    from_set(o.run.do_calib, files.calibration, io::Split::kTrain, "--do_calib", "--calib_file");
    from_set(o.run.do_train, files.train, io::Split::kTrain, "--do_train", "--train_file");
    from_set(o.run.do_eval, files.validation, io::Split::kValidation, "--do_eval", "--validation_file");
    if (o.run.do_predict && !files.test)
      fail<UsageError>("[qa] --do_predict needs --test_file FILE: SQuAD has no public test set");
  }

  /// What cannot be scored is found before anything is calibrated.
  void configure(io::BertConfig&, const TaskFiles& files, const TaskOptions& o,
                 const std::function<bool(const std::string&)>&) override {
    if (o.run.do_eval && !answers_.version_2)
      tasks::require_scorable_v1(read(TaskSplit::kEvaluation, *files.validation, o.data.max_eval_samples),
                                 files.validation->string());
  }

  std::optional<fs::path> sample_file(const TaskFiles& files, const TaskOptions&) override {
    if (files.validation || !dataset_name_) return files.validation;
    return dataset().file(io::Split::kValidation);
  }

  std::unique_ptr<train::TaskData> open(TaskSplit split, const fs::path& file, std::optional<int64_t> limit,
                                        const train::TaskContext& context) override {
    std::vector<tasks::SquadExample> examples = read(split, file, limit);
    if (split == TaskSplit::kTrain) check_answers(examples, file);
    const bool scored = are_scored(split, examples, file);

    tasks::FeatureOptions options;
    options.max_length = static_cast<int>(context.max_length);
    options.stride = static_cast<int>(doc_stride_);
    options.pad_to_max_length = context.pad_to_max_length;
    options.labels = split == TaskSplit::kTrain;
    options.fix_labels = fix_labels_;
    tasks::SquadFeatures features =
        tasks::SquadFeatures::build(examples, context.tokenizer, options, context.threads, context.progress);
    if (limit && (split == TaskSplit::kTrain || split == TaskSplit::kCalibration))
      features.truncate(static_cast<size_t>(*limit));
    return std::make_unique<train::SquadData>(std::move(examples), std::move(features), answers_, scored,
                                              context.width_multiple);
  }

  Json feature_settings() const override { return {{"doc_stride", doc_stride_}}; }

  void report(Json& report, const Json& metrics, const train::TaskData& data) const override {
    report["exact_match"] = metrics.value("exact_match", metrics.value("exact", 0.0));
    report["f1"] = metrics.at("f1");
    report["questions"] = dynamic_cast<const train::SquadData&>(data).questions();
    report["features"] = data.size();
  }

 private:
  const io::DatasetFiles& dataset() {
    if (!files_) files_ = io::find_dataset(*dataset_name_, io::data_directories(data_dir_.value_or("")));
    return *files_;
  }

  std::vector<tasks::SquadExample> read(TaskSplit split, const fs::path& file,
                                        std::optional<int64_t> limit) const {
    tasks::SquadReadOptions options;
    options.require_answers = split == TaskSplit::kTrain || split == TaskSplit::kEvaluation;
    options.offsets = split != TaskSplit::kTrain ? tasks::OffsetCheck::kIgnore
                      : strict_offsets_          ? tasks::OffsetCheck::kRefuse
                                                 : tasks::OffsetCheck::kSkip;
    std::vector<tasks::SquadExample> examples = tasks::read_squad(file, options);
    if (limit && static_cast<size_t>(*limit) < examples.size()) examples.resize(static_cast<size_t>(*limit));
    return examples;
  }

  bool are_scored(TaskSplit split, const std::vector<tasks::SquadExample>& examples,
                  const fs::path& file) const {
    if (split == TaskSplit::kEvaluation && answers_.version_2) return true;
    const auto answered =
        std::count_if(examples.begin(), examples.end(), [](const auto& e) { return !e.answers.empty(); });
    const bool all = answered == std::ssize(examples);
    if (split == TaskSplit::kPrediction && answered > 0 && !all && !answers_.version_2) {
      log_warning(
          "{}: {} of {} questions have no answer, so predictions are not scored; SQuAD v2 needs "
          "--version_2_with_negative",
          file.string(), std::ssize(examples) - answered, examples.size());
      return false;
    }
    return answered > 0;
  }

  void check_answers(const std::vector<tasks::SquadExample>& examples, const fs::path& file) const {
    const auto unanswered =
        std::count_if(examples.begin(), examples.end(), [](const auto& e) { return e.answers.empty(); });
    if (unanswered == static_cast<std::ptrdiff_t>(examples.size()))
      fail("[data] {}: none of the {} questions has an answer to learn", file.string(), examples.size());
    if (unanswered > 0 && !answers_.version_2)
      log_warning(
          "{} of {} questions have no answer and are trained as unanswerable; is this SQuAD v2 "
          "(--version_2_with_negative)?",
          unanswered, examples.size());
  }

  std::optional<std::string> dataset_name_, dataset_config_name_, data_dir_;
  int64_t doc_stride_ = 128;
  bool fix_labels_ = false, strict_offsets_ = false;
  tasks::AnswerOptions answers_;
  std::optional<io::DatasetFiles> files_;
};

}  // namespace

int run_qa(const Arguments& arguments) {
  QaTask task;
  return run_task(task, arguments);
}

}  // namespace qdqbert::cli
