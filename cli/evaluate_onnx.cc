// qdqbert evaluate-onnx: what the original's evaluate-hf-trt-qa.py does, on the engine of this project.
#include <chrono>
#include <cstdio>
#include <numeric>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/io/hub_cache.h"
#include "qdqbert/pipeline/model_files.h"
#include "qdqbert/pipeline/span_model.h"
#include "qdqbert/tasks/squad_evaluation.h"

#include "cli/engine_flags.h"
#include "cli/latency.h"
#include "cli/terminal.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string onnx_model_path, output_dir, tokenizer_name;
  std::optional<std::string> dataset_name, dataset_config_name, validation_file, data_dir, json;
  std::optional<int64_t> max_eval_samples;
  int64_t max_seq_length = 384, doc_stride = 128, batch_size = 8, n_best_size = 20, max_answer_length = 30;
  int64_t seed = 42, workers = 4;
  double null_score_diff_threshold = 0;
  bool version_2 = false, overwrite_cache = false, fp16 = false, int8 = false;
  EngineFlags engine;
};

std::optional<Options> parse(const Arguments& arguments) {
  Options o;
  ArgumentParser parser(
      "evaluate-onnx", "--onnx_model_path FILE --output_dir DIR --tokenizer_name DIR [flags]",
      "Scores an ONNX file on SQuAD, with the flags of the original's evaluate-hf-trt-qa.py. Without "
      "--int8 the file is run in float,\n"
      "Q/DQ pairs included; with it integer kernels are used wherever there are Q/DQ pairs.");
  parser.group("model");
  parser.add("onnx_model_path", o.onnx_model_path, "an ONNX file, or a directory with model.onnx");
  parser.require("onnx_model_path");
  parser.add("tokenizer_name", o.tokenizer_name,
             "directory of the tokenizer (default: beside the ONNX file)");
  parser.add_switch("fp16", o.fp16, "half precision, which is BF16 here");
  parser.add_switch("int8", o.int8, "integer kernels");
  parser.group("data");
  parser.add("dataset_name", o.dataset_name,
             "squad or squad_v2, in ./data or a directory of QDQBERT_DATA_DIR");
  parser.add("dataset_config_name", o.dataset_config_name, "no effect: both have one configuration");
  parser.add("validation_file", o.validation_file, "a SQuAD file instead");
  parser.add("data_dir", o.data_dir, "where to look for --dataset_name first");
  parser.add("max_eval_samples", o.max_eval_samples, "only the first questions");
  parser.add("max_seq_length", o.max_seq_length, "tokens of a row, to which it is padded");
  parser.add("doc_stride", o.doc_stride, "tokens that consecutive windows share");
  parser.add("per_device_eval_batch_size", o.batch_size, "rows of a run");
  parser.add("preprocessing_num_workers", o.workers, "threads for tokenizing");
  parser.add_switch("overwrite_cache", o.overwrite_cache, "no effect: nothing is cached");
  parser.add("seed", o.seed, "no effect: nothing is drawn");
  parser.group("answers");
  parser.add("output_dir", o.output_dir,
             "directory for eval_predictions.json and eval_nbest_predictions.json");
  parser.require("output_dir");
  parser.add_switch("version_2_with_negative", o.version_2, "questions may have no answer");
  parser.add("null_score_diff_threshold", o.null_score_diff_threshold,
             "no answer when its score is higher by more than this");
  parser.add("n_best_size", o.n_best_size, "candidates");
  parser.add("max_answer_length", o.max_answer_length, "tokens");
  parser.add("json", o.json, "write scores and seconds to this file");
  o.engine.add_to(parser, false, false);
  if (!parser.parse(arguments)) return std::nullopt;
  const auto at_least_one = [](const char* flag, int64_t value) {
    if (value < 1) fail<UsageError>("[evaluate-onnx] --{} is {}, at least 1 is needed", flag, value);
  };
  at_least_one("max_seq_length", o.max_seq_length);
  at_least_one("per_device_eval_batch_size", o.batch_size);
  at_least_one("preprocessing_num_workers", o.workers);
  at_least_one("n_best_size", o.n_best_size);
  at_least_one("max_answer_length", o.max_answer_length);
  at_least_one("max_eval_samples", o.max_eval_samples.value_or(1));
  if (o.doc_stride < 0)
    fail<UsageError>("[evaluate-onnx] --doc_stride is {}, 0 or more is needed", o.doc_stride);
  if (!o.dataset_name && !o.validation_file)
    fail<UsageError>("[evaluate-onnx] data is missing: give --dataset_name squad or --validation_file FILE");
  // The original lets --int8 win as well.
  o.engine.precision = o.int8 ? "auto" : o.fp16 ? "bf16" : "fp32";
  return o;
}

/// Python's dictionary as it prints it: {'exact_match': 70.5, 'f1': 79.25}
std::string python_text(const Json& metrics) {
  std::string text;
  for (const auto& [key, value] : metrics.items())
    text += fmt::format("{}'{}': {}", text.empty() ? "" : ", ", key, dump_json(value));
  return "{" + text + "}";
}

class Evaluation {
 public:
  explicit Evaluation(Options options) : o_(std::move(options)) {}

  void run() {
    ensure_writable_directory(o_.output_dir);
    const fs::path onnx_file = pipeline::find_onnx_file(o_.onnx_model_path), data = data_file();
    if (o_.fp16)
      log_info("{}", o_.int8 ? "--fp16 beside --int8 has no effect: what is not quantized runs in FP32"
                             : "--fp16 runs matrix multiplications in BF16 on this processor");
    std::optional<engine::Session> session;
    timed("load", [&] { session.emplace(onnx_file, o_.engine.options()); });
    const pipeline::SpanModel model(*session, onnx_file.string());
    const text::Tokenizer tokenizer =
        pipeline::find_tokenizer(onnx_file, o_.tokenizer_name, *session, kTokenizerRemedy);
    o_.max_seq_length = bounded_length(o_.max_seq_length, tokenizer, *session, true);
    if (tokenizer.options().padding_side == text::Side::kLeft)
      log_warning("the tokenizer pads on the left; rows are padded on the right here");
    read(data);
    timed("features", [&] { build_features(tokenizer); });
    fmt::print("***** Running Evaluation *****\n  Num examples = {}\n  Batch size = {}\n", features_->size(),
               o_.batch_size);
    std::fflush(stdout);
    timed("evaluate", [&] { answer(model); });
    const double total = seconds_.at("evaluate").get<double>();
    fmt::print("Evaluation done in total {:.6f} secs ({:.6f} sec per example)\n", total,
               total / static_cast<double>(features_->size()));
    const double sum = std::accumulate(run_ms_.begin(), run_ms_.end(), 0.0);
    fmt::print("Average Inference Time = {:.3f} ms\n", sum / static_cast<double>(run_ms_.size()));
    fmt::print("Total Inference Time =  {:.3f} ms\n", sum);
    fmt::print("Total Number of Inference =  {}\n", run_ms_.size());
    tasks::AnswerOptions answers;
    answers.version_2 = o_.version_2;
    answers.n_best_size = o_.n_best_size;
    answers.max_answer_length = o_.max_answer_length;
    answers.null_score_diff_threshold = o_.null_score_diff_threshold;
    tasks::SquadEvaluation evaluation;
    timed("answers",
          [&] { evaluation = tasks::evaluate_squad(examples_, *features_, logits_, answers, scored_); });
    tasks::write_answers(o_.output_dir, "eval", examples_, evaluation, o_.version_2);
    if (scored_) fmt::print("Evaluation metrics: {}\n", python_text(evaluation.metrics));
    if (o_.json) write_file(*o_.json, dump_json(report(evaluation.metrics, *session)) + "\n");
  }

 private:
  template <class Work>
  void timed(const char* phase, Work&& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds_[phase] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  fs::path data_file() const {
    if (o_.validation_file) return *o_.validation_file;
    return io::find_dataset(*o_.dataset_name, io::data_directories(o_.data_dir.value_or("")))
        .file(io::Split::kValidation);
  }

  void read(const fs::path& data) {
    tasks::SquadReadOptions options;
    options.require_answers = false;
    options.offsets = tasks::OffsetCheck::kIgnore;
    examples_ = tasks::read_squad(data, options);
    if (o_.max_eval_samples && static_cast<size_t>(*o_.max_eval_samples) < examples_.size())
      examples_.resize(static_cast<size_t>(*o_.max_eval_samples));
    if (!o_.version_2) tasks::require_scorable_v1(examples_, data.string());
    scored_ = o_.version_2;
    // The original takes white space off the front of questions here. No token comes from white space, so
    // neither does a difference.
    for (const tasks::SquadExample& example : examples_) scored_ |= !example.answers.empty();
    if (!scored_) log_warning("{} holds no answers to compare with: nothing is scored", data.string());
  }

  void build_features(const text::Tokenizer& tokenizer) {
    tasks::FeatureOptions options;
    options.max_length = static_cast<int>(o_.max_seq_length);
    options.stride = static_cast<int>(o_.doc_stride);
    options.pad_to_max_length = false;  // rows are padded when they are run
    options.labels = false;
    features_ = tasks::SquadFeatures::build(examples_, tokenizer, options, static_cast<int>(o_.workers),
                                            progress_.sink());
  }

  /// In order, each row padded to the full length, as the original's engine of fixed shape has it.
  void answer(const pipeline::SpanModel& model) {
    const ProgressSink progress = progress_.sink();
    const auto batch = static_cast<size_t>(o_.batch_size);
    logits_.begin.assign(1, 0);
    for (size_t first = 0; first < features_->size(); first += batch) {
      std::vector<pipeline::FeatureRow> rows;
      for (size_t f = first; f < std::min(features_->size(), first + batch); ++f)
        rows.push_back({&*features_, f});
      double seconds = 0;
      for (const pipeline::RowLogits& row :
           model.run_padded(rows, static_cast<size_t>(o_.max_seq_length), &seconds)) {
        logits_.start.insert(logits_.start.end(), row.start.begin(), row.start.end());
        logits_.end.insert(logits_.end.end(), row.end.begin(), row.end.end());
        logits_.begin.push_back(logits_.start.size());
      }
      run_ms_.push_back(1e3 * seconds);
      progress("evaluating", static_cast<int64_t>(first + rows.size()),
               static_cast<int64_t>(features_->size()));
    }
  }

  Json report(const Json& metrics, const engine::Session& session) const {
    Json json = Json::object();
    if (scored_) {
      json["exact_match"] = metrics.value("exact_match", metrics.value("exact", 0.0));
      json["f1"] = metrics.at("f1");
      json["metrics"] = metrics;
    }
    json["questions"] = examples_.size();
    json["features"] = features_->size();
    json["batch_size"] = o_.batch_size;
    json["max_seq_length"] = o_.max_seq_length;
    json["precision"] = o_.int8 ? "int8" : o_.fp16 ? "bf16" : "fp32";
    json["isa"] = name_of(session.isa());
    json["threads"] = session.threads();
    json["latency_ms"] = to_json(latency_of(run_ms_));
    json["seconds"] = seconds_;
    return json;
  }

  Options o_;
  TerminalProgress progress_;
  std::vector<tasks::SquadExample> examples_;
  std::optional<tasks::SquadFeatures> features_;
  tasks::SquadLogits logits_;
  std::vector<double> run_ms_;
  bool scored_ = false;
  Json seconds_ = Json::object();
};

}  // namespace

int run_evaluate_onnx(const Arguments& arguments) {
  std::optional<Options> options = parse(arguments);
  if (!options) return 0;
  Evaluation(std::move(*options)).run();
  return 0;
}

}  // namespace qdqbert::cli
