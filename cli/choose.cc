// qdqbert choose: which of several texts fits.
#include "qdqbert/train/choice_data.h"

#include "cli/task.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;

class ChooseTask : public Task {
 public:
  std::string verb() const override { return "choose"; }
  std::string samples() const override { return "questions"; }
  std::string class_name() const override { return "QDQBertForMultipleChoice"; }
  std::string default_metric() const override { return "loss"; }
  std::string about() const override {
    return "Multiple choice with any number of choices. Data: JSON lines {\"prompt\", \"choices\": [...], "
           "\"answer\": NUMBER}, SWAG's CSV files\n"
           "(sent1, sent2, ending0, ..., label), CommonsenseQA's JSON lines, CODAH's TSV files; also .gz. "
           "Several actions may be combined;\n"
           "they run in the order calibrate, train, evaluate, predict, export.\n\n"
           "  fine-tune in FP32:           qdqbert choose --model_name_or_path BERT --train_file train.jsonl --validation_file dev.jsonl \\\n"
           "                                 --do_train --do_eval --quant-disable --output_dir tuned\n"
           "  post-training quantization:  qdqbert choose --model_name_or_path tuned --train_file train.jsonl --validation_file dev.jsonl \\\n"
           "                                 --do_calib --do_eval --output_dir calibrated";
  }

  void add_flags(ArgumentParser& parser) override {
    parser.refuse("dataset_name",
                  "data sets are not downloaded; name the files with --train_file and --validation_file");
  }

  std::unique_ptr<train::TaskData> open(TaskSplit split, const fs::path& file, std::optional<int64_t> limit,
                                        const train::TaskContext& context) override {
    const bool labels = split == TaskSplit::kTrain || split == TaskSplit::kEvaluation;
    tasks::ChoiceData data = tasks::read_choices(file, labels);
    if (limit && static_cast<size_t>(*limit) < data.examples.size())
      data.examples.resize(static_cast<size_t>(*limit));
    return std::make_unique<train::ChoiceData>(std::move(data), context);
  }
};

}  // namespace

int run_choose(const Arguments& arguments) {
  ChooseTask task;
  return run_task(task, arguments);
}

}  // namespace qdqbert::cli
