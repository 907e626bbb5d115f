// qdqbert predict: answers from an ONNX file.
#include <chrono>
#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/utf8.h"

#include "cli/answer_text.h"
#include "cli/answerer.h"
#include "cli/model_facts.h"
#include "cli/output_check.h"
#include "cli/predict_lines.h"
#include "cli/predict_options.h"
#include "cli/terminal.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;

class Prediction {
 public:
  explicit Prediction(PredictOptions options) : o_(std::move(options)) {}

  int run() {
    file_ = find_onnx_file(o_.model);
    timed("load", [&] { session_.emplace(file_, o_.engine.options()); });
    if (!o_.raw) prepare();
    int code = 0;
    if (o_.text) {
      answer_one_text();
    } else if (o_.question) {
      answer_one();
    } else if (o_.squad) {
      answer_file();
    } else {
      code = answer_standard_input();
    }
    report_["isa"] = name_of(session_->isa());
    report_["threads"] = session_->threads();
    report_["packed"] = session_->packed();
    report_["seconds"] = seconds_;
    if (o_.json) write_file(*o_.json, dump_json(report_) + "\n");
    return code;
  }

 private:
  template <class Work>
  void timed(const char* phase, Work&& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds_[phase] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  double seconds_of(const char* phase) const { return seconds_.at(phase).get<double>(); }

  void prepare() {
    tokenizer_ = find_tokenizer(file_, o_.tokenizer, *session_);
    o_.max_seq_length = bounded_length(o_.max_seq_length, *tokenizer_, *session_, o_.length_given);
    const ModelFacts facts = read_model_facts(file_);
    const PredictTask task = task_for(facts);
    report_["task"] = name_of(task);
    if (task != PredictTask::kQuestions) return prepare_texts(task, facts);
    if (o_.text) fail<UsageError>("[predict] {} answers questions: --question and --context", file_.string());
    tasks::FeatureOptions features;
    features.max_length = static_cast<int>(o_.max_seq_length);
    features.stride = static_cast<int>(o_.doc_stride.value_or(o_.max_seq_length / 3));
    features.pad_to_max_length = false;
    features.labels = false;
    answerer_.emplace(*session_, file_.string(), *tokenizer_, features, o_.answers,
                      static_cast<size_t>(o_.tokens_per_batch));
  }

  PredictTask task_for(const ModelFacts& facts) const {
    if (o_.task != "auto") return predict_task_named(o_.task);
    if (o_.question || o_.squad) return PredictTask::kQuestions;
    if (facts.task) return *facts.task;
    if (const auto suggested = task_of_outputs(*session_)) return *suggested;
    if (!o_.text) return PredictTask::kQuestions;  // and its own words where the outputs do not fit
    fail("[predict] there is no config.json beside {} that names its task; say it: --task", file_.string());
  }

  void prepare_texts(PredictTask task, const ModelFacts& facts) {
    if (o_.question || o_.squad)
      fail<UsageError>("[predict] --{} goes with --task qa, the task is {}",
                       o_.question ? "question" : "squad", name_of(task));
    PredictorOptions options;
    options.max_length = static_cast<int>(o_.max_seq_length);
    options.top_k = o_.top_k;
    options.threshold = o_.threshold;
    options.normalize = o_.normalize;
    options.first_token = o_.pooling == "first";
    options.generation = o_.generation;
    options.use_cache = o_.use_cache;
    options.tokens_per_batch = static_cast<size_t>(o_.tokens_per_batch);
    task_ = make_predictor(task, *session_, file_.string(), *tokenizer_, facts, options);
  }

  void answer_one_text() {
    const TextRequest request{*o_.text, o_.text_pair, o_.choices};
    const auto check = [](const char* flag, const std::string& text) {
      if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
        fail("[predict] --{} is not valid UTF-8 at byte {}", flag, bad + 1);
    };
    check("text", request.text);
    if (request.pair) check("text_pair", *request.pair);
    for (const std::string& choice : request.choices) check("choices", choice);
    Json answer;
    timed("answer", [&] {
      const TaskTexts encoded = task_->encode(request);
      std::vector<const text::Encoding*> texts;
      for (const text::Encoding& text : encoded.texts) texts.push_back(&text);
      const std::vector<TextOutput> outputs = task_->run(texts, [&] { progress_.check(); });
      require_numbers(outputs);
      answer = task_->answer(request, encoded.texts, outputs);
      if (encoded.truncated) {
        answer["truncated"] = true;
        log_warning("the text was cut at {} tokens", o_.max_seq_length);
      }
    });
    fmt::print("{}", task_->describe(answer));
    report_.update(answer);
  }

  void answer_one() {
    for (const auto& [flag, text] : {std::pair("question", *o_.question), std::pair("context", *o_.context)})
      if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
        fail("[predict] --{} is not valid UTF-8 at byte {}", flag, bad + 1);
    const std::vector<tasks::SquadExample> examples = {
        example_of("of the command line", *o_.question, *o_.context)};
    std::optional<tasks::SquadFeatures> features;
    std::vector<tasks::ExampleAnswer> answers;
    timed("answer", [&] {
      features = answerer_->features_of(examples);
      answers = answerer_->choose(examples, *features, answerer_->logits_of(rows_of(*features), look()));
    });
    report_ = answer_json(answers[0], o_.answers, o_.n_best);
    const auto place = [](const Json& answer) {
      return fmt::format("score {:.4f}, characters {} to {}", answer.at("score").get<double>(),
                         answer.at("start").get<int64_t>(), answer.at("end").get<int64_t>());
    };
    fmt::print("{}\n  {}; {} window{} in {:.1f} ms on {}\n", report_.at("answer").get<std::string>(),
               place(report_), features->size(), features->size() == 1 ? "" : "s", 1e3 * seconds_of("answer"),
               machine_text(*session_));
    if (!report_.contains("n_best")) return;
    for (const Json& candidate : report_.at("n_best"))
      fmt::print("  {}: {}\n", place(candidate), candidate.at("answer").get<std::string>());
  }

  void answer_file() {
    AtomicFile output(*o_.output);  // refused before long work
    tasks::SquadReadOptions read;
    read.require_answers = false;
    read.offsets = tasks::OffsetCheck::kIgnore;
    const std::vector<tasks::SquadExample> examples = tasks::read_squad(*o_.squad, read);
    std::optional<tasks::SquadFeatures> features;
    std::vector<RowLogits> logits;
    std::vector<tasks::ExampleAnswer> answers;
    timed("features",
          [&] { features = answerer_->features_of(examples, session_->threads(), progress_.sink()); });
    timed("answer", [&] { logits = answerer_->logits_of(rows_of(*features), progress_.sink()); });
    timed("choose", [&] { answers = answerer_->choose(examples, *features, logits); });
    constexpr JsonStyle kFile{4, false, true, true};  // as the original writes them
    if (o_.n_best_output)
      write_file(*o_.n_best_output, dump_json(tasks::n_best_json(examples, answers), kFile));
    output.write(dump_json(tasks::predictions_json(examples, answers), kFile));
    output.commit();
    log_info("{} questions in {} windows: {:.2f} s, {:.1f} windows a second on {}; answers in {}",
             examples.size(), features->size(), seconds_of("answer"),
             static_cast<double>(features->size()) / seconds_of("answer"), machine_text(*session_),
             *o_.output);
    report_["questions"] = examples.size();
    report_["windows"] = features->size();
  }

  int answer_standard_input() {
    std::optional<AtomicFile> output;
    if (o_.output) output.emplace(*o_.output);
    const TextSink sink = [&](const std::string& text) {
      if (output) {
        output->write(text);
      } else {
        write_output(text);
        flush_output();
      }
    };
    if (::isatty(STDIN_FILENO) == 1) log_info("reading JSON lines from the terminal; Ctrl-D ends");
    LineReader reader(STDIN_FILENO);
    LineCounts counts;
    timed("answer", [&] {
      const auto look = [&] { progress_.check(); };
      counts = o_.raw  ? answer_raw_lines(reader, *session_, look, sink)
               : task_ ? answer_text_lines(reader, *task_, o_, look, sink)
                       : answer_lines(reader, *answerer_, o_, look, sink);
    });
    if (output) output->commit();
    report_["answered"] = counts.answered;
    report_["refused"] = counts.refused;
    if (counts.refused == 0) return 0;
    log(LogLevel::kError,
        fmt::format("{} of {} lines could not be answered; their errors stand among the answers",
                    counts.refused, counts.answered + counts.refused));
    return 2;
  }

  ProgressSink look() {
    return [this](auto&&...) { progress_.check(); };
  }

  PredictOptions o_;
  TerminalProgress progress_;
  fs::path file_;
  std::optional<engine::Session> session_;
  std::optional<text::Tokenizer> tokenizer_;
  std::optional<Answerer> answerer_;  ///< of questions
  std::unique_ptr<Predictor> task_;   ///< of everything else
  Json report_ = Json::object(), seconds_ = Json::object();
};

}  // namespace

int run_predict(const Arguments& arguments) {
  std::optional<PredictOptions> options = parse_predict(arguments);
  if (!options) return 0;
  return Prediction(std::move(*options)).run();
}

}  // namespace qdqbert::cli
