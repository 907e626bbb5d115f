// qdqbert qa: calibrate, train, evaluate, predict and export, in this order, on one model in memory.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>

#include <ATen/Parallel.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/sha256.h"
#include "qdqbert/base/thread_pool.h"
#include "qdqbert/io/hub_cache.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/model/onnx_export.h"
#include "qdqbert/train/calibrate.h"
#include "qdqbert/train/evaluate.h"
#include "qdqbert/train/model_directory.h"
#include "qdqbert/train/sampling.h"
#include "qdqbert/train/squad_training.h"

#include "cli/qa_options.h"
#include "cli/terminal.h"
#include "cli/training_run.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;
using Examples = std::vector<tasks::SquadExample>;

class QaRun {
 public:
  explicit QaRun(QaOptions options) : o_(std::move(options)), output_(o_.run.output_dir) {}

  void run() {
    ensure_writable_directory(output_);
    const int threads = o_.run.threads > 0 ? static_cast<int>(o_.run.threads) : default_threads();
    threads_ = threads;
    at::set_num_threads(threads);
    if (o_.run.fp16 || o_.run.bf16)
      log_info(
          "--{}: training, evaluation and prediction take products in BF16 (autocast){}; calibration and "
          "export stay "
          "FP32",
          o_.run.fp16 ? "fp16" : "bf16",
          o_.run.fp16 ? ": on a CPU half precision is BF16, which needs no loss scaling" : "");
    if (o_.run.do_train) resume_ = checkpoint_to_resume(output_, o_.training, o_.run.overwrite_output_dir);
    locate_data();
    timed("load", [&] { load(); });
    if (o_.run.do_calib) calibrate();
    if (o_.run.do_train) {
      configure();
      timed("train", [&] { train(); });
    }
    if (o_.run.do_eval || o_.run.do_predict || o_.onnx.save_onnx) configure();
    if (o_.run.do_eval) answer("eval", *validation_file_, o_.data.max_eval_samples);
    if (o_.run.do_predict) answer("predict", *test_file_, o_.data.max_predict_samples);
    if (o_.onnx.save_onnx) timed("export", [&] { export_model(); });
    if (o_.run.json) {
      report_["seconds"] = seconds_;
      write_file(*o_.run.json, dump_json(report_, {2, false, true, true}));
    }
  }

 private:
  template <class Work>
  void timed(const std::string& phase, Work&& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds_[phase] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  /// Files are found before anything is loaded, so that a missing one costs nothing.
  void locate_data() {
    const auto existing = [](const std::optional<std::string>& flag) -> std::optional<fs::path> {
      if (!flag) return std::nullopt;
      if (!fs::is_regular_file(*flag)) fail("[data] {} is not there or not a file", *flag);
      return fs::path(*flag);
    };
    calib_file_ = existing(o_.data.calib_file ? o_.data.calib_file : o_.data.train_file);
    train_file_ = existing(o_.data.train_file);
    validation_file_ = existing(o_.data.validation_file);
    test_file_ = existing(o_.data.test_file);
    const auto from_set = [&](std::optional<fs::path>& file, io::Split split, const char* action,
                              const char* flag) {
      if (file) return;
      if (!o_.data.dataset_name)
        fail<UsageError>("[qa] {} needs data: give --dataset_name squad or {} FILE", action, flag);
      if (!files_)
        files_ = io::find_dataset(*o_.data.dataset_name, io::data_directories(o_.data.data_dir.value_or("")));
      file = files_->file(split);
    };
    if (o_.run.do_calib) from_set(calib_file_, io::Split::kTrain, "--do_calib", "--calib_file");
    if (o_.run.do_train) from_set(train_file_, io::Split::kTrain, "--do_train", "--train_file");
    if (o_.run.do_eval) from_set(validation_file_, io::Split::kValidation, "--do_eval", "--validation_file");
    if (o_.run.do_predict && !test_file_)
      fail<UsageError>("[qa] --do_predict needs --test_file FILE: SQuAD has no public test set");
  }

  fs::path resolve(const std::optional<std::string>& name) const {
    return io::resolve_model(name.value_or(o_.model.model_name_or_path), o_.model.model_revision,
                             o_.model.cache_dir.value_or(""));
  }

  void load() {
    const nn::QuantDefaults defaults = train::quant_defaults(o_.quant);
    if (o_.training.teacher) teacher_ = resolve(o_.training.teacher);
    const auto without_dropout = [&](io::BertConfig& config) {
      if (!o_.run.disable_dropout) return;
      config.hidden_dropout_prob = 0;
      config.attention_probs_dropout_prob = 0;
    };
    if (o_.model.random_init) {
      const std::string& name = *o_.model.random_init;
      std::optional<io::BertConfig> config = io::builtin_config(name);
      if (!config) config = io::read_config(name);
      without_dropout(*config);
      model_ = model::make_model(kClass, *config, defaults);
      model_->init_weights(static_cast<uint64_t>(o_.run.seed));
      draw_ranges();
      if (!o_.model.tokenizer_name) return;
    } else {
      const fs::path directory = resolve(std::nullopt);
      if (fs::exists(directory / "quantization.json"))
        quantization_ = read_json(directory / "quantization.json");
      model::LoadOptions load_options;
      load_options.seed = static_cast<uint64_t>(o_.run.seed);
      const auto configure = [&](io::BertConfig& config) {
        if (o_.model.config_name) config = io::read_config(resolve(o_.model.config_name) / "config.json");
        without_dropout(config);
      };
      model::LoadedModel loaded = model::load_model(kClass, directory, defaults, load_options, configure);
      model_ = loaded.model;
      for (const std::string& line : io::describe(loaded.report, kClass, directory.string()))
        log_warning("{}", line);
    }
    tokenizer_ = text::Tokenizer::from_path(resolve(o_.model.tokenizer_name));
    const auto rows = static_cast<int64_t>(tokenizer_->vocabulary().size());
    if (rows > model_->config().vocab_size)
      fail("[tokenizer] the vocabulary has {} tokens, the model has embeddings for {}", rows,
           model_->config().vocab_size);
    if (const int limit = tokenizer_->options().model_max_length; o_.data.max_seq_length > limit) {
      log_warning("--max_seq_length {} is more than the tokenizer's maximum of {}, which is used instead",
                  o_.data.max_seq_length, limit);
      o_.data.max_seq_length = limit;
    }
    if (o_.data.max_seq_length > model_->config().max_position_embeddings) {
      log_warning("--max_seq_length {} is more than the model's {} positions, which are used instead",
                  o_.data.max_seq_length, model_->config().max_position_embeddings);
      o_.data.max_seq_length = model_->config().max_position_embeddings;
    }
  }

  /// Ranges of a model with random weights: those of random token ids, so that a benchmark's codes are busy.
  void draw_ranges() {
    constexpr int64_t kRows = 2, kTokens = 64;
    const io::BertConfig& config = model_->config();
    at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(o_.run.seed));
    bool given = false;
    const auto source = [&]() -> std::optional<train::CalibrationBatch> {
      if (std::exchange(given, true)) return std::nullopt;
      train::CalibrationBatch batch;
      batch.samples = kRows;
      batch.inputs.input_ids =
          at::randint(config.vocab_size, {kRows, std::min(kTokens, config.max_position_embeddings)},
                      generator, at::kLong);
      return batch;
    };
    train::QuantOptions by_maximum = o_.quant;
    if (o_.quant.calibrator == train::CalibrationMethod::kPercentile && !o_.quant.percentile)
      by_maximum.percentile = 99.99;
    train::calibrate(*model_, source, kRows, by_maximum);
  }

  tasks::SquadFeatures features_of(const Examples& examples, bool labels = false) {
    tasks::FeatureOptions options;
    options.max_length = static_cast<int>(o_.data.max_seq_length);
    options.stride = static_cast<int>(o_.data.doc_stride);
    options.pad_to_max_length = o_.data.pad_to_max_length;
    options.labels = labels;
    options.fix_labels = o_.run.fix_labels;
    const auto workers = static_cast<int>(o_.data.preprocessing_num_workers.value_or(threads_));
    return tasks::SquadFeatures::build(examples, tokenizer(), options, workers, progress_.sink());
  }

  const text::Tokenizer& tokenizer() const {
    if (!tokenizer_)
      fail<UsageError>("[qa] --tokenizer_name is needed with --random_init when there is text to read");
    return *tokenizer_;
  }

  Examples read(const fs::path& file, const std::optional<int64_t>& limit, bool answers) const {
    tasks::SquadReadOptions options;
    options.require_answers = answers;
    Examples examples = tasks::read_squad(file, options);
    if (limit && static_cast<size_t>(*limit) < examples.size()) examples.resize(static_cast<size_t>(*limit));
    return examples;
  }

  void calibrate() {
    const Examples examples = read(*calib_file_, o_.data.max_train_samples, false);
    tasks::SquadFeatures features = features_of(examples);
    if (o_.data.max_train_samples) features.truncate(static_cast<size_t>(*o_.data.max_train_samples));
    const auto count = static_cast<int64_t>(features.size());
    std::vector<int64_t> order(features.size());
    for (int64_t i = 0; i < count; ++i) order[static_cast<size_t>(i)] = i;
    if (o_.run.calib_shuffle) order = train::loader_order(count, static_cast<uint64_t>(o_.run.seed));
    // Whole batches, as the original: with 12 a batch, 128 samples become 132.
    const int64_t batch_size = o_.run.per_device_eval_batch_size;
    const int64_t wanted =
        std::min(count, (o_.run.num_calib_samples + batch_size - 1) / batch_size * batch_size);
    if (count < o_.run.num_calib_samples)
      log_warning("{} features to calibrate on, {} were asked for", count, o_.run.num_calib_samples);
    int64_t next = 0;
    const auto source = [&]() -> std::optional<train::CalibrationBatch> {
      if (next >= wanted) return std::nullopt;
      std::vector<size_t> rows;
      size_t width = 0;
      for (; next < wanted && static_cast<int64_t>(rows.size()) < batch_size; ++next) {
        rows.push_back(static_cast<size_t>(order[static_cast<size_t>(next)]));
        width = std::max(width, features.width(rows.back()));
      }
      return train::CalibrationBatch{static_cast<int64_t>(rows.size()),
                                     train::batch_of(features, rows, width)};
    };
    train::CalibrationRecord record;
    timed("calibrate",
          [&] { record.samples = train::calibrate(*model_, source, wanted, o_.quant, progress_.sink()); });
    record.options = o_.quant;
    record.data_file = *calib_file_;
    record.shuffled = o_.run.calib_shuffle;
    record.seed = o_.run.seed;
    record.batch_size = batch_size;
    record.max_length = o_.data.max_seq_length;
    record.stride = o_.data.doc_stride;
    record.command_line = o_.command_line;
    if (!o_.run.do_eval && !o_.onnx.save_onnx) std::fputs(train::quantizer_summary(*model_).c_str(), stdout);
    timed("save", [&] {
      io::SaveOptions save;
      save.dtype = io::parse_save_dtype(o_.run.save_dtype);
      quantization_ = train::quantization_json(*model_, record);
      train::save_quantized(*model_, tokenizer(), quantization_, output_, save);
    });
    log_info("Calibrated on {} samples in {}; saved in {}", record.samples,
             duration_text(seconds_["calibrate"].get<double>()), output_.string());
    saved_ = true;
  }

  void configure() {
    train::configure_model(*model_, o_.quant);
    std::fputs(train::quantizer_summary(*model_).c_str(), stdout);
    if (!train::has_fixed_ranges(*model_))
      log_warning(
          "some quantizers have no range: they take it from each batch, so results depend on padding and on "
          "which questions "
          "share a batch; calibrate first (--do_calib), or switch quantization off (--quant-disable)");
  }

  void train() {
    const Examples examples = read(*train_file_, o_.data.max_train_samples, true);
    const auto unanswered =
        std::count_if(examples.begin(), examples.end(), [](const auto& e) { return e.answers.empty(); });
    if (unanswered == static_cast<std::ptrdiff_t>(examples.size()))
      fail("[data] {}: none of the {} questions has an answer to learn", train_file_->string(),
           examples.size());
    if (unanswered > 0 && !o_.data.version_2_with_negative)
      log_warning(
          "{} of {} questions have no answer and are trained as unanswerable; is this SQuAD v2 "
          "(--version_2_with_negative)?",
          unanswered, examples.size());
    tasks::SquadFeatures features = features_of(examples, true);
    if (o_.data.max_train_samples) features.truncate(static_cast<size_t>(*o_.data.max_train_samples));
    train::SquadTrainingData data(features, o_.run.fp16 && !o_.data.pad_to_max_length ? 8 : 1);

    const nn::QuantDefaults defaults = train::quant_defaults(o_.quant);
    if (o_.training.learn_amax) model_ = with_learned_ranges(*model_, defaults);
    prepare_model(*model_, o_.training);

    train::TrainerHooks hooks;
    hooks.loss = distillation_loss(*model_, tokenizer(), o_.training, teacher_);
    if (o_.run.do_eval) hooks.evaluate = [this] { return evaluate_now(); };
    hooks.default_metric = "f1";
    hooks.save_extras = [this](const fs::path& directory) { tokenizer().save(directory); };
    hooks.identity = {{"file", train_file_->filename().string()},
                      {"sha256", sha256(read_file(*train_file_))},
                      {"max_seq_length", o_.data.max_seq_length},
                      {"doc_stride", o_.data.doc_stride}};
    hooks.progress = progress_.sink();
    ProgressDetail detail(progress_);
    hooks.observers = {&detail};
    std::optional<RangeFreezer> freezer;
    if (o_.training.freeze_amax_after)
      hooks.observers.push_back(&freezer.emplace(*model_, *o_.training.freeze_amax_after));

    train::Trainer trainer(*model_, data, o_.trainer, hooks, output_);
    const train::TrainingResult result = trainer.run(resume_);
    epoch_ = result.metrics.at("epoch");
    if (o_.training.learn_amax) model_ = with_fixed_ranges(*model_, defaults);

    Json training = o_.trainer.to_json();
    training["data"] = hooks.identity;
    training["results"] = result.metrics;
    if (train::has_ranges(*model_))
      quantization_ = train::trained_quantization_json(*model_, quantization_, training, o_.command_line);
    io::SaveOptions save;
    save.dtype = io::parse_save_dtype(o_.run.save_dtype);
    train::save_quantized(*model_, tokenizer(), quantization_, output_, save);
    write_training_results(output_, trainer, o_.trainer, result,
                           std::min(data.size(), o_.data.max_train_samples.value_or(data.size())));
    report_["train"] = result.metrics;
    saved_ = true;
  }

  /// Questions, with features made at their first use.
  struct AnswerSet {
    Examples examples;
    std::optional<tasks::SquadFeatures> features;
    bool scored = false;
  };

  AnswerSet& answer_set(const std::string& split, const fs::path& file, const std::optional<int64_t>& limit) {
    AnswerSet& set = sets_[split];
    if (set.features) return set;
    const bool predicting = split == "predict";
    set.examples = read(file, limit, !predicting);
    set.scored = std::any_of(set.examples.begin(), set.examples.end(),
                             [](const auto& e) { return !e.answers.empty(); }) ||
                 (!predicting && o_.data.version_2_with_negative);
    timed(split + "_features", [&] { set.features = features_of(set.examples); });
    return set;
  }

  tasks::SquadEvaluation evaluation_of(const AnswerSet& set, const std::string& split) {
    tasks::SquadLogits logits;
    timed(split == "eval" ? "evaluate" : "predict", [&] {
      const auto products = o_.run.fp16 || o_.run.bf16 ? train::Products::kBf16 : train::Products::kFloat32;
      logits = train::predict_logits(*model_, *set.features, o_.run.per_device_eval_batch_size,
                                     progress_.sink(), products);
    });
    tasks::AnswerOptions options;
    options.version_2 = o_.data.version_2_with_negative;
    options.n_best_size = o_.data.n_best_size;
    options.max_answer_length = o_.data.max_answer_length;
    options.null_score_diff_threshold = o_.data.null_score_diff_threshold;
    tasks::SquadEvaluation evaluation;
    timed(split + "_answers", [&] {
      evaluation = tasks::evaluate_squad(set.examples, *set.features, logits, options, set.scored);
    });
    return evaluation;
  }

  /// During training: metrics alone.
  Json evaluate_now() {
    const AnswerSet& set = answer_set("eval", *validation_file_, o_.data.max_eval_samples);
    return evaluation_of(set, "eval").metrics;
  }

  void answer(const std::string& split, const fs::path& file, const std::optional<int64_t>& limit) {
    const bool predicting = split == "predict";
    const AnswerSet& set = answer_set(split, file, limit);
    const tasks::SquadEvaluation evaluation = evaluation_of(set, split);
    tasks::write_answers(output_, split, set.examples, evaluation, o_.data.version_2_with_negative);
    Json metrics = Json::object();
    for (const auto& [key, value] : evaluation.metrics.items())
      metrics[(predicting ? "test_" : "eval_") + key] = value;
    const auto samples = static_cast<int64_t>(set.features->size());
    metrics[predicting ? "predict_samples" : "eval_samples"] = std::min(samples, limit.value_or(samples));
    if (epoch_ && !predicting) metrics["epoch"] = *epoch_;
    train::write_results(output_, split, metrics);
    std::fputs(train::metrics_block(split, metrics).c_str(), stdout);
    if (predicting) return;
    report_["exact_match"] = evaluation.metrics.value("exact_match", evaluation.metrics.value("exact", 0.0));
    report_["f1"] = evaluation.metrics.at("f1");
    report_["questions"] = set.examples.size();
    report_["features"] = set.features->size();
    if (saved_) train::add_scores(output_, file.filename().string(), evaluation.metrics);
  }

  void export_model() {
    model::OnnxExportOptions options;
    options.opset = static_cast<int>(o_.onnx.opset);
    options.int8_weights = o_.onnx.int8_weights;
    options.trt_attention = o_.onnx.trt_attention;
    const fs::path file = o_.onnx.onnx_file ? fs::path(*o_.onnx.onnx_file) : output_ / "model.onnx";
    std::optional<model::ModelInputs> sample;
    if (!train::has_fixed_ranges(*model_)) {
      if (!validation_file_ && o_.data.dataset_name) {
        files_ = io::find_dataset(*o_.data.dataset_name, io::data_directories(o_.data.data_dir.value_or("")));
        validation_file_ = files_->file(io::Split::kValidation);
      }
      if (!validation_file_)
        fail(
            "[export] some quantizers have no range; calibrate the model first (--do_calib), switch "
            "quantization off "
            "(--quant-disable), or give data to take ranges from (--validation_file)");
      const Examples examples = read(*validation_file_, o_.run.per_device_eval_batch_size, false);
      const tasks::SquadFeatures features = features_of(examples);
      std::vector<size_t> rows;
      size_t width = 0;
      for (size_t f = 0; f < features.size() && f < static_cast<size_t>(o_.run.per_device_eval_batch_size);
           ++f) {
        rows.push_back(f);
        width = std::max(width, features.width(f));
      }
      sample = train::batch_of(features, rows, width);
    }
    const model::OnnxExportReport report =
        model::export_onnx(*model_, file, options, sample ? &*sample : nullptr);
    std::string names;
    for (const fs::path& path : report.files)
      names += fmt::format("{}{} ({:.1f} MB)", names.empty() ? "" : ", ", path.string(),
                           static_cast<double>(fs::file_size(path)) / 1e6);
    fmt::print("Exported {}: opset {}, {} nodes, {} Q/DQ pairs\n", names, options.opset, report.nodes,
               report.lint.pairs.size());
    for (const std::string& line : report.lint.lines()) fmt::print("  {}\n", line);
  }

  static constexpr const char* kClass = "QDQBertForQuestionAnswering";
  QaOptions o_;
  fs::path output_;
  TerminalProgress progress_;
  int threads_ = 1;
  std::optional<io::DatasetFiles> files_;
  std::optional<fs::path> calib_file_, train_file_, validation_file_, test_file_, resume_;
  fs::path teacher_;
  Json quantization_;  ///< quantization.json of the model at hand
  std::optional<double> epoch_;
  std::shared_ptr<model::PreTrainedModel> model_;
  std::optional<text::Tokenizer> tokenizer_;
  std::map<std::string, AnswerSet> sets_;
  Json report_ = Json::object(), seconds_ = Json::object();
  bool saved_ = false;
};

}  // namespace

int run_qa(const Arguments& arguments) {
  std::optional<QaOptions> options = parse_qa(arguments);
  if (!options) return 0;
  QaRun(std::move(*options)).run();
  return 0;
}

}  // namespace qdqbert::cli
