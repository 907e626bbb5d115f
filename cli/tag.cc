// qdqbert tag: a label for every word.
#include <map>

#include "qdqbert/base/error.h"
#include "qdqbert/tasks/entity_decoder.h"
#include "qdqbert/train/tag_data.h"

#include "cli/task_labels.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;

class TagTask : public Task {
 public:
  std::string verb() const override { return "tag"; }
  std::string samples() const override { return "sentences"; }
  std::string class_name() const override { return "QDQBertForTokenClassification"; }
  std::string default_metric() const override { return "loss"; }
  std::string about() const override {
    return "Tagging of words (named entities, parts of speech). Data are columns of words and tags with "
           "an empty line between sentences\n"
           "(.conll, .bio, .txt), or .jsonl and .json files with lists of words and tags, also .gz. "
           "Precision, recall and F1 count whole\n"
           "entities, as seqeval does. Several actions may be combined; they run in the order calibrate, "
           "train, evaluate, predict, export.\n\n"
           "  fine-tune in FP32:           qdqbert tag --model_name_or_path BERT --train_file train.conll --validation_file dev.conll \\\n"
           "                                 --do_train --do_eval --quant-disable --output_dir tuned\n"
           "  post-training quantization:  qdqbert tag --model_name_or_path tuned --train_file train.conll --validation_file dev.conll \\\n"
           "                                 --do_calib --do_eval --output_dir calibrated\n"
           "  predictions as entities:     qdqbert tag --model_name_or_path calibrated --test_file words.conll --do_predict --output_dir out";
  }

  void add_flags(ArgumentParser& parser) override {
    parser.add("text_column_name", columns_.text,
               "field with the words in JSON files (default: tokens, words)");
    parser.add("label_column_name", columns_.label, "field with the tags (default: TASK_NAME_tags, tags)");
    parser.add("task_name", task_name_, "ner, pos or chunk: names the default field of the tags");
    parser.add("label_names", label_names_,
               "names of the tags 0, 1, 2, ... in order, with commas between, for files that hold numbers");
    parser.add("label_all_tokens", label_all_tokens_, "label every piece of a word instead of the first one");
    parser.add("return_entity_level_metrics", by_type_, "scores of each type of entity, too");
    parser.refuse("dataset_name",
                  "data sets are not downloaded; name the files with --train_file and --validation_file");
  }

  void check(TaskOptions&, const ArgumentParser& parser) override {
    if (parser.given("task_name") && columns_.label.empty()) columns_.label = task_name_ + "_tags";
    if (!label_names_.empty()) named_ = tasks::LabelMap(tasks::split_fields(label_names_, ','));
  }

  void configure(io::BertConfig& config, const TaskFiles& files, const TaskOptions& o,
                 const std::function<bool(const std::string&)>& in_checkpoint) override {
    const bool new_head = !in_checkpoint("classifier.weight");
    if (named_ && labels_of(config).size() == named_->size() && tasks::are_unnamed(labels_of(config)))
      config.set_labels(named_->names());
    const std::optional<fs::path> file = label_file(files, o.run);
    if (file && (o.run.do_train || o.run.do_eval || new_head)) {
      const tasks::TagData& data = read(*file, true);
      labels_ = settle_labels(config, named_ ? named_->names() : data.tags(), data.name, o, new_head);
    } else {
      labels_ = tasks::LabelMap::of_model(labels_of(config));
    }
    if (tasks::EntityDecoder(labels_.names()).unnamed())
      log_warning(
          "the tags are numbers without names, so no entities can be told; name them with --label_names");
  }

  std::unique_ptr<train::TaskData> open(TaskSplit split, const fs::path& file, std::optional<int64_t> limit,
                                        const train::TaskContext& context) override {
    const bool labels = split == TaskSplit::kTrain || split == TaskSplit::kEvaluation;
    tasks::TagData data = read(file, labels);
    if (limit && static_cast<size_t>(*limit) < data.examples.size())
      data.examples.resize(static_cast<size_t>(*limit));
    if (split == TaskSplit::kTrain)
      if (const size_t dropped = data.drop_untagged(); dropped > 0)
        log_warning("{}: {} sentences without tags are left out", data.name, dropped);
    if (split == TaskSplit::kCalibration) data.labelled = false;
    if (split == TaskSplit::kPrediction) settle_scoring(data);
    return std::make_unique<train::TagData>(std::move(data), labels_, label_all_tokens_, by_type_, context);
  }

  Json feature_settings() const override { return {{"label_all_tokens", label_all_tokens_}}; }

 private:
  /// Predictions are scored only where every sentence has tags, and these are the model's.
  void settle_scoring(tasks::TagData& data) const {
    if (data.untagged > 0)
      log_warning("{}: {} of {} sentences have no tags, so predictions are not scored", data.name,
                  data.untagged, data.examples.size());
    const std::vector<std::string> found = data.labelled ? data.tags() : std::vector<std::string>{};
    if (found.empty()) data.labelled = false;
    for (const std::string& tag : found) {
      if (labels_.id(tag)) continue;
      log_warning("{}: the model has no tag \"{}\", so predictions are not scored; it has {}", data.name, tag,
                  tasks::list_of_labels(labels_.names()));
      data.labelled = false;
      return;
    }
  }

  const tasks::TagData& read(const fs::path& file, bool labels) {
    const auto key = std::pair(file, labels);
    if (const auto found = read_.find(key); found != read_.end()) return found->second;
    tasks::TagColumns columns = columns_;
    columns.labels_required = labels;
    tasks::TagData data = tasks::read_tags(file, columns);
    if (named_) data.name_numbers(*named_);
    return read_.emplace(key, std::move(data)).first->second;
  }

  std::string task_name_ = "ner", label_names_;
  bool label_all_tokens_ = false, by_type_ = false;
  tasks::TagColumns columns_;
  std::optional<tasks::LabelMap> named_;
  tasks::LabelMap labels_;
  std::map<std::pair<fs::path, bool>, tasks::TagData> read_;  ///< by file and whether tags are needed
};

}  // namespace

int run_tag(const Arguments& arguments) {
  TagTask task;
  return run_task(task, arguments);
}

}  // namespace qdqbert::cli
