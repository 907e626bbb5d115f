// qdqbert embed: an encoder without a head, for sentence embeddings.
#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/io/hub_cache.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/tasks/sentence_folder.h"
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
           "embeddings of the fake-quantized model, one for every row: as modules.json of a sentence-transformers folder says, which is carried along, else means over tokens, of length 1.\n\n"
           "  calibrate and export:  qdqbert embed --model_name_or_path ENCODER --train_file texts.txt --do_calib \\\n"
           "                           --calibrator percentile --percentile 99.999 "
           "--quant-disable-keyword add_residual add_local \\\n"
           "                           --save_onnx --output_dir encoder-int8\n"
           "  embed:                 qdqbert predict encoder-int8 --text \"how do I reset my pin\"";
  }

  void add_flags(ArgumentParser& parser) override {
    parser.add(
        "prompt_name", prompt_name_,
        "prompt before every text, by its name in config_sentence_transformers.json (default: the one that is "
        "named there; \"\": none)");
    parser.add("text_column", column_, "column of the texts (default: text, else the first that is no id)");
  }

  void check(TaskOptions& o, const ArgumentParser& parser) override {
    length_given_ = parser.given("max_seq_length");
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
    const tasks::SentenceModel model = sentence_.value_or(tasks::SentenceModel{});
    const std::string prompt = model.prompt(prompt_name_);
    for (std::string& text : rows.texts) text.insert(0, prompt);
    if (model.lower_case && !tokenizer_) tokenizer_ = tasks::lowercased(context.tokenizer);
    train::TaskContext own{tokenizer_ ? *tokenizer_ : context.tokenizer};
    own.max_length = length_given_
                         ? context.max_length
                         : std::min(context.max_length, model.max_seq_length.value_or(context.max_length));
    own.pad_to_max_length = context.pad_to_max_length;
    own.threads = context.threads;
    own.seed = context.seed;
    own.width_multiple = context.width_multiple;
    own.progress = context.progress;
    return std::make_unique<train::EmbedData>(std::move(rows), model, prompt, own);
  }

  void configure(io::BertConfig& config, const TaskFiles&, const TaskOptions& o,
                 const std::function<bool(const std::string&)>&) override {
    if (o.model.random_init) return;
    sentence_ = tasks::read_sentence_folder(io::resolve_model(
        o.model.model_name_or_path, o.model.model_revision, o.model.cache_dir.value_or("")));
    if (!sentence_) return;
    sentence_->prompt(prompt_name_);
    sentence_->width(static_cast<size_t>(config.hidden_size));
  }

  Json feature_settings() const override {
    if (length_given_ || !sentence_ || !sentence_->max_seq_length) return Json::object();
    return {{"max_seq_length", *sentence_->max_seq_length}};
  }

  /// sentence-transformers loads the directory again: it needs float weights, and the name of a model that it knows.
  void save_beside(const fs::path& directory, const model::PreTrainedModel& model,
                   bool has_weights) const override {
    if (!sentence_) return;
    if (!has_weights) model::save_model(model, directory);
    Json config = read_json(directory / "config.json");
    config["model_type"] = "bert";
    config["architectures"] = {"BertModel"};
    write_file(directory / "config.json", dump_json(config, {.indent = 2, .final_newline = true}));
    tasks::write_sentence_folder(directory, *sentence_, static_cast<size_t>(model.config().hidden_size));
  }

 private:
  std::string column_;
  std::optional<std::string> prompt_name_;
  bool length_given_ = false;
  std::optional<tasks::SentenceModel> sentence_;
  std::optional<text::Tokenizer> tokenizer_;  ///< where texts are lowercased before it
};

}  // namespace

int run_embed(const Arguments& arguments) {
  EmbedTask task;
  return run_task(task, arguments);
}

}  // namespace qdqbert::cli
