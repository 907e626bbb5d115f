// qdqbert embed: an encoder without a head, for sentence embeddings.
#include "qdqbert/base/error.h"
#include "qdqbert/tasks/text_rows.h"
#include "qdqbert/train/embed_data.h"

#include "cli/task.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;

class EmbedTask : public Task {
 public:
  std::string verb() const override { return "embed"; }
  std::string samples() const override { return "texts"; }
  std::string class_name() const override { return "QDQBertModel"; }
  std::string default_metric() const override { return "loss"; }
  std::string about() const override {
    return "An encoder for sentence embeddings: calibrated on texts and exported, so that `qdqbert predict "
           "--task embed` answers in INT8.\n"
           "Data: a text in every line (.txt), or a column of .csv, .tsv, .jsonl, .json; also .gz. --do_predict writes\n"
           "embeddings of the fake-quantized model, one for every row: means over tokens, of length 1.\n\n"
           "  calibrate and export:  qdqbert embed --model_name_or_path ENCODER --train_file texts.txt --do_calib \\\n"
           "                           --calibrator percentile --percentile 99.999 "
           "--quant-disable-keyword add_residual add_local \\\n"
           "                           --save_onnx --output_dir encoder-int8\n"
           "  embed:                 qdqbert predict encoder-int8 --text \"how do I reset my pin\"";
  }

  void add_flags(ArgumentParser& parser) override {
    parser.add("text_column", column_, "column of the texts (default: text, else the first that is no id)");
  }

  void check(TaskOptions& o, const ArgumentParser&) override {
    if (o.run.do_train || o.run.do_eval)
      fail<UsageError>(
          "[embed] --{} needs labels, and an encoder without a head has none; train it under a head "
          "(`qdqbert classify`, `qdqbert lm`)",
          o.run.do_train ? "do_train" : "do_eval");
  }

  std::unique_ptr<train::TaskData> open(TaskSplit split, const fs::path& file, std::optional<int64_t> limit,
                                        const train::TaskContext& context) override {
    tasks::TextRows rows = tasks::read_text_rows(file, column_);
    // An answer is due for an empty text, too; to ranges it says nothing.
    if (split == TaskSplit::kCalibration) rows.drop_empty();
    if (limit) rows.truncate(static_cast<size_t>(*limit));
    return std::make_unique<train::EmbedData>(std::move(rows), context);
  }

 private:
  std::string column_;
};

}  // namespace

int run_embed(const Arguments& arguments) {
  EmbedTask task;
  return run_task(task, arguments);
}

}  // namespace qdqbert::cli
