// Calibrate, train, evaluate, predict and export, in this order,
// on one model in memory: the same for every task.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <numeric>

#include <ATen/Parallel.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/base/sha256.h"
#include "qdqbert/io/checkpoint.h"
#include "qdqbert/io/hub_cache.h"
#include "qdqbert/io/wrapper_names.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/model/onnx_export.h"
#include "qdqbert/tasks/sentence_folder.h"
#include "qdqbert/train/calibrate.h"
#include "qdqbert/train/device.h"
#include "qdqbert/train/model_directory.h"
#include "qdqbert/train/process_group.h"
#include "qdqbert/train/sampling.h"
#include "qdqbert/train/training_watch.h"

#include "cli/task.h"
#include "cli/task_device.h"
#include "cli/terminal.h"
#include "cli/training_run.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;

class TaskRun {
 public:
  TaskRun(Task& task, TaskOptions options, TrainingFlags training,
          std::optional<train::TrainerOptions> trainer)
      : task_(task),
        o_(std::move(options)),
        training_(std::move(training)),
        trainer_(std::move(trainer)),
        output_(o_.run.output_dir) {}

  void run() {
    const std::optional<train::Launch> launch = train::find_launch();
    const int own_share = std::max(1, default_threads() / (launch ? launch->on_this_machine : 1));
    threads_ = o_.run.threads > 0 ? static_cast<int>(o_.run.threads) : own_share;
    at::set_num_threads(threads_);
    if (launch) join_group(*launch);
    device_ = choose_device(o_.run.device, launch, group());
    ensure_writable_directory(output_);
    precision_ = choose_precision(o_.run, device_, trainer_);
    // Rank 0 first: it may remove what an earlier run left.
    const auto find_checkpoint = [&] {
      if (o_.run.do_train) resume_ = checkpoint_to_resume(output_, training_, o_.run.overwrite_output_dir);
    };
    if (writes_files()) find_checkpoint();
    if (group_) group_->barrier();
    if (!writes_files()) find_checkpoint();
    locate_data();
    timed("load", [&] { load(); });
    if (o_.run.do_calib) calibrate();
    if (o_.run.do_train) {
      configure();
      timed("train", [&] { train(); });
    }
    if (o_.run.do_eval || o_.run.do_predict || o_.onnx.save_onnx || task_.has_other_work()) configure();
    if (o_.run.do_eval) answer(TaskSplit::kEvaluation);
    if (o_.run.do_predict) answer(TaskSplit::kPrediction);
    if (task_.has_other_work() && writes_files()) task_.other_work({*model_, tokenizer(), output_, o_});
    if (o_.onnx.save_onnx && writes_files()) timed("export", [&] { export_model(); });
    if (group_) group_->barrier();
    if (o_.run.json && writes_files()) {
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

  /// The ranks do the same in the same order; rank 0 alone writes and speaks.
  void join_group(const train::Launch& launch) {
    if (launch.rank != 0) {
      set_log_sink({});
      if (std::freopen("/dev/null", "w", stdout) == nullptr)
        fail<SystemError>("[processes] /dev/null cannot be opened");
      progress_.hide();
    }
    log_info("Waiting for {} processes at {}:{} ({})", launch.size, launch.master_host, launch.master_port,
             launch.launcher);
    group_.emplace(launch);
    group_->require_equal("flags", o_.command_line);
    log_info("{} processes, {} threads each", launch.size, threads_);
  }
  bool writes_files() const { return !group_ || group_->writes_files(); }
  train::ProcessGroup* group() { return group_ ? &*group_ : nullptr; }

  /// Files are found before anything is loaded, so that a missing one costs nothing.
  void locate_data() {
    const auto existing = [](const std::optional<std::string>& flag) -> std::optional<fs::path> {
      if (!flag) return std::nullopt;
      if (!fs::is_regular_file(*flag)) fail("[data] {} is not there or not a file", *flag);
      return fs::path(*flag);
    };
    files_.calibration = existing(o_.data.calib_file ? o_.data.calib_file : o_.data.train_file);
    files_.train = existing(o_.data.train_file);
    files_.validation = existing(o_.data.validation_file);
    files_.test = existing(o_.data.test_file);
    task_.find_files(files_, o_);
    const auto needed = [&](bool asked, const std::optional<fs::path>& file, const char* action,
                            const char* flag) {
      if (asked && !file) fail<UsageError>("[{}] {} needs data: give {} FILE", task_.verb(), action, flag);
    };
    needed(o_.run.do_calib, files_.calibration, "--do_calib", "--calib_file or --train_file");
    needed(o_.run.do_train, files_.train, "--do_train", "--train_file");
    needed(o_.run.do_eval, files_.validation, "--do_eval", "--validation_file");
    needed(o_.run.do_predict, files_.test, "--do_predict", "--test_file");
  }

  fs::path resolve(const std::optional<std::string>& name) const {
    return tasks::encoder_directory(io::resolve_model(name.value_or(o_.model.model_name_or_path),
                                                      o_.model.model_revision,
                                                      o_.model.cache_dir.value_or("")));
  }

  void load() {
    const nn::QuantDefaults defaults = train::quant_defaults(o_.quant);
    if (training_.teacher) teacher_ = resolve(training_.teacher);
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
      task_.configure(*config, files_, o_, [](const std::string&) { return false; });
      model_ = model::make_model(task_.class_name(), *config, defaults);
      model_->init_weights(static_cast<uint64_t>(o_.run.seed));
      model_->to(device_);
      draw_ranges();
      if (!o_.model.tokenizer_name) return;
    } else {
      const fs::path directory = resolve(std::nullopt);
      if (fs::exists(directory / "quantization.json"))
        quantization_ = read_json(directory / "quantization.json");
      model::LoadOptions load_options;
      load_options.seed = static_cast<uint64_t>(o_.run.seed);
      load_options.ignore_mismatched_sizes = o_.model.ignore_mismatched_sizes;
      const auto configure = [&](io::BertConfig& config) {
        if (o_.model.config_name) config = io::read_config(resolve(o_.model.config_name) / "config.json");
        without_dropout(config);
        task_.configure(config, files_, o_, [&](const std::string& tensor) {
          const io::Checkpoint checkpoint = io::Checkpoint::open(directory);
          return std::any_of(checkpoint.tensors().begin(), checkpoint.tensors().end(),
                             [&](const auto& item) { return io::unwrapped_name(item.name) == tensor; });
        });
      };
      model::LoadedModel loaded =
          model::load_model(task_.class_name(), directory, defaults, load_options, configure);
      if (!o_.model.allow_random_encoder)
        io::require_encoder(loaded.report, task_.class_name(), directory.string());
      model_ = loaded.model;
      model_->to(device_);
      for (const std::string& line : io::warnings(loaded.report, task_.class_name(), directory.string()))
        log_warning("{}", line);
      if (!loaded.report.ranges.empty())
        log_info("{} quantization ranges were loaded from {}", loaded.report.ranges.size(),
                 directory.string());
    }
    tokenizer_ = text::Tokenizer::from_path(resolve(o_.model.tokenizer_name));
    const auto rows = static_cast<int64_t>(tokenizer_->vocabulary().size());
    if (rows > model_->config().vocab_size)
      fail("[tokenizer] the vocabulary has {} tokens, the model has embeddings for {}", rows,
           model_->config().vocab_size);
    limit_length();
  }

  void limit_length() {
    int64_t& length = o_.data.max_seq_length;
    const int64_t limit = tokenizer_->options().model_max_length,
                  positions = model_->config().max_position_embeddings;
    if (length == 0) length = std::min(limit, positions);
    if (length > limit) {
      log_warning("--max_seq_length {} is more than the tokenizer's maximum of {}, which is used instead",
                  length, limit);
      length = limit;
    }
    if (length > positions) {
      log_warning("--max_seq_length {} is more than the model's {} positions, which are used instead", length,
                  positions);
      length = positions;
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
      if (model_->class_name() == "QDQBertForMultipleChoice")
        batch.inputs.input_ids = batch.inputs.input_ids.unsqueeze(1);
      return batch;
    };
    train::QuantOptions by_maximum = o_.quant;
    if (o_.quant.calibrator == train::CalibrationMethod::kPercentile && !o_.quant.percentile)
      by_maximum.percentile = 99.99;
    train::calibrate(*model_, source, kRows, by_maximum);
  }

  const text::Tokenizer& tokenizer() const {
    if (!tokenizer_)
      fail<UsageError>("[{}] --tokenizer_name is needed with --random_init when there is text to read",
                       task_.verb());
    return *tokenizer_;
  }

  std::unique_ptr<train::TaskData> open(TaskSplit split, const fs::path& file,
                                        const std::optional<int64_t>& limit) {
    const auto workers = static_cast<int>(o_.data.preprocessing_num_workers.value_or(threads_));
    train::TaskContext context{tokenizer()};
    context.max_length = o_.data.max_seq_length;
    context.pad_to_max_length = o_.data.pad_to_max_length;
    context.threads = workers;
    context.seed = static_cast<uint64_t>(o_.run.seed);
    context.width_multiple = o_.run.fp16 && !o_.data.pad_to_max_length ? 8 : 1;
    context.progress = progress_.sink();
    return task_.open(split, file, limit, context);
  }

  void calibrate() {
    const std::unique_ptr<train::TaskData> data =
        open(TaskSplit::kCalibration, *files_.calibration, o_.data.max_train_samples);
    const int64_t count = data->size();
    std::vector<int64_t> order(static_cast<size_t>(count));
    std::iota(order.begin(), order.end(), int64_t{0});
    if (o_.run.calib_shuffle) order = train::loader_order(count, static_cast<uint64_t>(o_.run.seed));
    // Whole batches, as the original: with 12 a batch, 128 samples become 132.
    const int64_t batch_size = o_.run.per_device_eval_batch_size;
    const int64_t wanted =
        std::min(count, (o_.run.num_calib_samples + batch_size - 1) / batch_size * batch_size);
    if (count < o_.run.num_calib_samples)
      log_warning("{} features to calibrate on, {} were asked for", count, o_.run.num_calib_samples);
    const int64_t ranks = group_ ? group_->size() : 1, rank = group_ ? group_->rank() : 0;
    int64_t round = 0;
    const auto source = [&]() -> std::optional<train::CalibrationBatch> {
      const int64_t first_of_round = round++ * ranks * batch_size, mine = first_of_round + rank * batch_size;
      if (first_of_round >= wanted) return std::nullopt;
      // A rank without a batch in the last round keeps step with any sample.
      const int64_t counted = std::clamp<int64_t>(wanted - mine, 0, batch_size);
      const std::span<const int64_t> samples(order.data() + (counted > 0 ? mine : 0),
                                             static_cast<size_t>(std::max<int64_t>(1, counted)));
      return train::CalibrationBatch{counted, data->inputs(samples, widest(*data, samples))};
    };
    train::CalibrationRecord record;
    timed("calibrate", [&] {
      record.samples = train::calibrate(*model_, source, wanted, o_.quant, progress_.sink(), group());
    });
    record.options = o_.quant;
    record.data_file = *files_.calibration;
    record.shuffled = o_.run.calib_shuffle;
    record.seed = o_.run.seed;
    record.batch_size = batch_size;
    record.max_length = o_.data.max_seq_length;
    record.features = task_.feature_settings();
    record.command_line = o_.command_line;
    if (!o_.run.do_eval && !o_.onnx.save_onnx) show_quantizers();
    quantization_ = train::quantization_json(*model_, record);
    timed("save", [&] { save(); });
    log_info("Calibrated on {} samples in {}; saved in {}", record.samples,
             duration_text(seconds_["calibrate"].get<double>()), output_.string());
  }

  static int64_t widest(const train::TaskData& data, std::span<const int64_t> samples) {
    int64_t width = 0;
    for (const int64_t sample : samples) width = std::max(width, data.width(sample));
    return width;
  }

  void save() {
    io::SaveOptions options;
    options.dtype = io::parse_save_dtype(o_.run.save_dtype);
    if (writes_files()) {
      train::save_quantized(*model_, tokenizer(), quantization_, output_, options);
      task_.save_beside(output_, *model_, true);
    }
    saved_ = true;
  }

  void show_quantizers() const {
    const auto quantizers = model_->named_quantizers();
    const auto disabled = std::count_if(quantizers.begin(), quantizers.end(),
                                        [](const auto& item) { return item.quantizer->disabled(); });
    if (disabled == std::ssize(quantizers)) {
      log_info("all {} quantizers are disabled: the model runs in float", disabled);
      return;
    }
    std::fputs(train::quantizer_summary(*model_).c_str(), stdout);
    if (disabled > 0) log_info("{} of {} quantizers are disabled", disabled, quantizers.size());
  }

  void configure() {
    train::configure_model(*model_, o_.quant);
    show_quantizers();
    if (!train::has_fixed_ranges(*model_))
      log_warning(
          "some quantizers have no range: they take it from each batch, so results depend "
          "on padding and on which {} share a batch; calibrate first (--do_calib), or switch "
          "quantization off (--quant-disable)",
          task_.samples());
  }

  void train() {
    const std::unique_ptr<train::TaskData> data =
        open(TaskSplit::kTrain, *files_.train, o_.data.max_train_samples);
    // Read now, so that a fault in them is found before hours of training.
    if (o_.run.do_eval) data_of(TaskSplit::kEvaluation);
    if (o_.run.do_predict) data_of(TaskSplit::kPrediction);
    const nn::QuantDefaults defaults = train::quant_defaults(o_.quant);
    if (training_.learn_amax) model_ = with_learned_ranges(*model_, defaults);
    prepare_model(*model_, training_);

    train::TrainerHooks hooks;
    hooks.loss = distillation_loss(*model_, tokenizer(), training_, teacher_);
    if (const auto own = data->loss(); own && hooks.loss) {
      fail<UsageError>(
          "[teacher] is not possible here: {} with different numbers of choices need a loss of their own",
          task_.samples());
    } else if (own) {
      hooks.loss = [this, own](const model::ModelInputs& batch) {
        model::ForwardOptions forward;
        forward.gradient_checkpointing = training_.gradient_checkpointing;
        return own(*model_, batch, forward);
      };
    }
    if (o_.run.do_eval) hooks.evaluate = [this] { return evaluate_now(); };
    hooks.default_metric = task_.default_metric();
    hooks.save_extras = [this](const fs::path& directory) { tokenizer().save(directory); };
    hooks.identity = {{"file", files_.train->filename().string()},
                      {"sha256", sha256(read_file(*files_.train))},
                      {"max_seq_length", o_.data.max_seq_length}};
    hooks.identity.update(task_.feature_settings());
    hooks.group = group();
    if (group_) group_->require_equal("training data", dump_json(hooks.identity, {-1}));
    hooks.progress = progress_.sink();
    ProgressDetail detail(progress_);
    hooks.observers = {&detail};
    std::optional<RangeFreezer> freezer;
    if (training_.freeze_amax_after)
      hooks.observers.push_back(&freezer.emplace(*model_, *training_.freeze_amax_after));

    std::optional<train::TrainingWatch> watch;
    if (writes_files()) {
      hooks.observers.push_back(&watch.emplace(watch_places(), watch_facts()));
      watch->set_ranges_before(ranges_on(*data));
    }

    train::Trainer trainer(*model_, *data, *trainer_, hooks, output_);
    const train::TrainingResult result = trainer.run(resume_);
    epoch_ = result.metrics.at("epoch");
    if (training_.learn_amax) model_ = with_fixed_ranges(*model_, defaults);
    if (watch) {
      watch->set_ranges_after(ranges_on(*data));
      log_info("Curves and ranges: {}", watch_places().page.string());
    }

    Json record = trainer_->to_json();
    record["data"] = hooks.identity;
    record["learn_amax"] = training_.learn_amax;
    if (const auto distillation = distillation_options(training_)) {
      record["distillation"] = distillation->to_json();
      record["distillation"]["teacher"] = *training_.teacher;
    }
    record["results"] = result.metrics;
    if (train::has_ranges(*model_))
      quantization_ = train::trained_quantization_json(*model_, quantization_, record, o_.command_line);
    save();
    if (writes_files())
      write_training_results(output_, trainer, *trainer_, result,
                             std::min(data->size(), o_.data.max_train_samples.value_or(data->size())));
    report_["train"] = result.metrics;
  }

  train::TrainingWatch::Places watch_places() const {
    train::TrainingWatch::Places places;
    places.page = output_ / kReportFile;
    if (training_.report_to != "none")
      places.events = training_.logging_dir ? fs::path(*training_.logging_dir) : output_ / kEventsFolder;
    return places;
  }
  std::vector<std::pair<std::string, std::string>> watch_facts() const {
    return {{"command", o_.command_line},
            {"model", o_.model.random_init ? "random weights" : o_.model.model_name_or_path},
            {"class", task_.class_name()},
            {"data", files_.train->string()}};
  }
  /// How ranges fit the first training samples.
  std::vector<train::RangeUse> ranges_on(const train::TaskData& data) {
    std::vector<int64_t> samples(static_cast<size_t>(std::min<int64_t>(8, data.size())));
    std::iota(samples.begin(), samples.end(), int64_t{0});
    return train::range_use(*model_, data.inputs(samples, widest(data, samples)));
  }

  static const char* name_of(TaskSplit split) { return split == TaskSplit::kPrediction ? "predict" : "eval"; }

  /// Data of evaluation and prediction, opened at their first use.
  train::TaskData& data_of(TaskSplit split) {
    std::unique_ptr<train::TaskData>& data = sets_[split];
    if (data) return *data;
    const bool predicting = split == TaskSplit::kPrediction;
    timed(std::string(name_of(split)) + "_features", [&] {
      data = open(split, predicting ? *files_.test : *files_.validation,
                  predicting ? o_.data.max_predict_samples : o_.data.max_eval_samples);
    });
    return *data;
  }

  Json evaluate(TaskSplit split) {
    train::TaskData& data = data_of(split);
    timed(split == TaskSplit::kPrediction ? "predict" : "evaluate", [&] {
      const auto precision = o_.run.fp64 ? train::Precision::kFloat64 : precision_;
      train::run_over(*model_, data, o_.run.per_device_eval_batch_size, progress_.sink(), precision, group());
    });
    Json metrics = Json::object();
    timed(std::string(name_of(split)) + "_answers", [&] {
      if (data.scored()) metrics = data.metrics();
    });
    return metrics;
  }

  /// During training: metrics alone.
  Json evaluate_now() { return evaluate(TaskSplit::kEvaluation); }

  void answer(TaskSplit split) {
    const bool predicting = split == TaskSplit::kPrediction;
    const Json scores = evaluate(split);
    if (!writes_files()) return;
    const train::TaskData& data = data_of(split);
    data.write_predictions(output_, name_of(split));
    Json metrics = Json::object();
    for (const auto& [key, value] : scores.items()) metrics[(predicting ? "test_" : "eval_") + key] = value;
    const auto& limit = predicting ? o_.data.max_predict_samples : o_.data.max_eval_samples;
    metrics[predicting ? "predict_samples" : "eval_samples"] =
        std::min(data.size(), limit.value_or(data.size()));
    if (epoch_ && !predicting) metrics["epoch"] = *epoch_;
    train::write_results(output_, name_of(split), metrics);
    std::fputs(train::metrics_block(name_of(split), metrics).c_str(), stdout);
    if (predicting) return;
    task_.report(report_, scores, data);
    if (saved_) train::add_scores(output_, files_.validation->filename().string(), scores);
  }

  /// What the engine's verbs look for beside an ONNX file: which task, which labels, which words.
  void save_beside(const fs::path& directory) const {
    // A checkpoint keeps its own; anything else is of an earlier export, perhaps of another model.
    const bool checkpoint = io::find_weight_file(directory).has_value();
    const auto stays = [&](const char* name) { return checkpoint && fs::exists(directory / name); };
    if (!stays("config.json")) {
      io::BertConfig config = model_->config();
      config.architectures = {model_->class_name()};
      io::write_config(directory / "config.json", config);
    }
    if (tokenizer_ && !stays("vocab.txt") && !stays("tokenizer.json")) tokenizer_->save(directory);
    task_.save_beside(directory, *model_, saved_);
  }

  void export_model() {
    model::OnnxExportOptions options;
    options.opset = static_cast<int>(*o_.onnx.opset);
    if (o_.onnx.half_by_fp16) {
      log_info("--fp16: the exported file is in half precision, opset 19; --opset 13 keeps it FP32");
    } else if (o_.run.fp16 && options.opset < 19) {
      log_warning("--fp16 with --opset {}: the exported file stays FP32; half precision needs --opset 19",
                  options.opset);
    }
    options.int8_weights = o_.onnx.int8_weights;
    options.trt_attention = o_.onnx.trt_attention;
    options.hidden_states = o_.onnx.hidden_states;
    options.pooler_output = o_.onnx.pooler_output;
    if (o_.onnx.cache == "present") options.cache = onnx::GraphCache::kPresent;
    if (o_.onnx.cache == "past") options.cache = onnx::GraphCache::kPast;
    const fs::path file = o_.onnx.onnx_file ? fs::path(*o_.onnx.onnx_file) : output_ / "model.onnx";
    std::optional<model::ModelInputs> sample;
    if (!train::has_fixed_ranges(*model_)) {
      const std::optional<fs::path> from = task_.sample_file(files_, o_);
      if (!from)
        fail(
            "[export] some quantizers have no range; calibrate the model first (--do_calib), switch "
            "quantization off (--quant-disable), or give data to take ranges from (--validation_file)");
      const std::unique_ptr<train::TaskData> data =
          open(TaskSplit::kPrediction, *from, o_.run.per_device_eval_batch_size);
      std::vector<int64_t> samples(
          static_cast<size_t>(std::min(data->size(), o_.run.per_device_eval_batch_size)));
      std::iota(samples.begin(), samples.end(), int64_t{0});
      sample = train::to_device(data->inputs(samples, widest(*data, samples)), device_);
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
    save_beside(file.parent_path().empty() ? fs::path(".") : file.parent_path());
  }

  Task& task_;
  TaskOptions o_;
  TrainingFlags training_;
  std::optional<train::TrainerOptions> trainer_;
  fs::path output_;
  TerminalProgress progress_;
  at::Device device_ = at::kCPU;
  train::Precision precision_ = train::Precision::kFloat32;
  std::optional<train::ProcessGroup> group_;
  int threads_ = 1;
  TaskFiles files_;
  std::optional<fs::path> resume_;
  fs::path teacher_;
  Json quantization_;  ///< quantization.json of the model at hand
  std::optional<double> epoch_;
  std::shared_ptr<model::PreTrainedModel> model_;
  std::optional<text::Tokenizer> tokenizer_;
  std::map<TaskSplit, std::unique_ptr<train::TaskData>> sets_;
  Json report_ = Json::object(), seconds_ = Json::object();
  bool saved_ = false;
};

/// Contradictions between training and the rest.
void check_training(const TaskOptions& o, const TrainingFlags& training) {
  if (!o.run.do_train && training.resume_from_checkpoint)
    fail<UsageError>("[resume_from_checkpoint] needs --do_train");
  if (!o.run.do_train && (training.teacher || training.learn_amax))
    fail<UsageError>("[{}] needs --do_train", training.teacher ? "teacher" : "learn-amax");
  if (training.learn_amax && o.quant.disable)
    fail<UsageError>(
        "[learn-amax] and --quant-disable exclude each other: without quantizers there are no ranges");
}

}  // namespace

void Task::report(Json& report, const Json& metrics, const train::TaskData& data) const {
  report.update(metrics);
  report["samples"] = data.size();
}

int run_task(Task& task, const Arguments& arguments) {
  TaskOptions o;
  TrainingFlags training;
  task.set_defaults(o, training);
  ArgumentParser parser(task.verb(), "--model_name_or_path M --output_dir D [flags]", task.about());
  add_model_flags(parser, o.model);
  parser.group("data");
  add_file_flags(parser, o.data, task.samples());
  task.add_flags(parser);
  add_run_flags(parser, o.run, o.data, task.samples());
  add_quant_flags(parser, o);
  add_export_flags(parser, o.onnx);
  add_training_flags(parser, training);
  parser.require("output_dir");
  if (!parser.parse(arguments)) return 0;
  task.check(o, parser);
  finish_options(o, task.verb(), arguments, task.has_other_work());
  check_training(o, training);
  show_log_from(o.run.log_level);
  std::optional<train::TrainerOptions> trainer;
  if (o.run.do_train) {
    trainer = trainer_options(training, o.run.seed);
    // As the original: who evaluates during training also evaluates at its end.
    if (trainer->evaluation != train::Interval::kNo) o.run.do_eval = true;
  }
  TaskRun(task, std::move(o), std::move(training), std::move(trainer)).run();
  return 0;
}

}  // namespace qdqbert::cli
