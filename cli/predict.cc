// qdqbert predict: answers from an ONNX file.
#include <chrono>
#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/pipeline/answerer.h"
#include "qdqbert/pipeline/model_facts.h"
#include "qdqbert/pipeline/model_files.h"
#include "qdqbert/pipeline/question_answerer.h"

#include "cli/answer_text.h"
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
    file_ = pipeline::find_onnx_file(o_.model);
    std::optional<engine::Session> opened;
    timed("load", [&] { opened.emplace(file_, o_.engine.options()); });
    report_["isa"] = name_of(opened->isa());
    report_["threads"] = opened->threads();
    report_["packed"] = opened->packed();
    int code = 0;
    if (o_.raw) {
      code = answer_standard_input([&](LineReader& reader, const TextSink& sink) {
        return answer_raw_lines(
            reader, *opened, [&] { progress_.check(); }, sink);
      });
    } else {
      prepare(std::move(*opened));
      code = answer();
    }
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

  void prepare(engine::Session session) {
    text::Tokenizer tokenizer = pipeline::find_tokenizer(file_, o_.tokenizer, session, kTokenizerRemedy);
    pipeline::ModelFacts facts = pipeline::read_model_facts(file_);
    facts.task = task_ = task_for(facts, session);  // what the user says goes before what the model says
    if (task_ == pipeline::TaskKind::kEmbed)
      prepare_embeddings(facts.sentence);
    else
      facts.sentence.reset();
    const int64_t longest = bounded_length(o_.max_seq_length, tokenizer, session, o_.length_given);
    report_["task"] = name_of(task_);
    if (task_ == pipeline::TaskKind::kQuestions && o_.text)
      fail<UsageError>("[predict] {} answers questions: --question and --context", file_.string());
    if (task_ != pipeline::TaskKind::kQuestions && (o_.question || o_.squad))
      fail<UsageError>("[predict] --{} goes with --task qa, the task is {}",
                       o_.question ? "question" : "squad", name_of(task_));
    pipeline_.emplace(
        file_.string(), std::move(session), std::move(tokenizer), std::move(facts),
        pipeline::PipelineOptions{.session = {},
                                  .tokenizer = {},
                                  .max_length = static_cast<size_t>(longest),
                                  .tokens_per_batch = static_cast<size_t>(o_.tokens_per_batch)});
  }

  /// What modules.json beside the file says, changed as the flags ask.
  void prepare_embeddings(std::optional<tasks::SentenceModel>& sentence) {
    if (sentence && !o_.length_given)
      o_.max_seq_length = sentence->max_seq_length.value_or(text::kNoMaxLength);
    has_modules_ = sentence.has_value();
    if (!sentence) sentence.emplace();
    if (o_.pooling != "model")
      sentence->pooling = {o_.pooling == "first" ? tasks::Pooling::kCls : *tasks::pooling_named(o_.pooling)};
    if (!o_.normalize_given) return;
    std::erase_if(sentence->steps,
                  [](const auto& step) { return std::holds_alternative<tasks::Normalize>(step); });
    if (o_.normalize) sentence->steps.emplace_back(tasks::Normalize{});
  }

  pipeline::TaskKind task_for(const pipeline::ModelFacts& facts, const engine::Session& session) const {
    if (o_.task != "auto") return predict_task_named(o_.task);
    if (o_.question || o_.squad) return pipeline::TaskKind::kQuestions;
    if (facts.task) return *facts.task;
    if (const auto suggested = pipeline::task_of_outputs(session)) return *suggested;
    if (!o_.text) return pipeline::TaskKind::kQuestions;  // and its own words where the outputs do not fit
    fail("[predict] there is no config.json beside {} that names its task; say it: --task", file_.string());
  }

  int answer() {
    if (o_.text) {
      answer_one_text();
    } else if (o_.question) {
      answer_one();
    } else if (o_.squad) {
      answer_file();
    } else {
      return answer_lines_of_requests();
    }
    return 0;
  }

  pipeline::QuestionOptions question_options() const {
    pipeline::QuestionOptions options;
    if (o_.doc_stride) options.stride = static_cast<size_t>(*o_.doc_stride);
    options.answers = o_.answers;
    return options;
  }

  std::unique_ptr<Predictor> predictor() const {
    PredictorOptions options;
    options.top_k = o_.top_k;
    options.threshold = o_.threshold;
    options.embeddings.sentence = pipeline_->facts().sentence;
    options.embeddings.prompt_name = o_.prompt_name;
    options.embeddings.normalize_pooled = o_.normalize_given ? o_.normalize : !has_modules_;
    options.generation = o_.generation;
    options.use_cache = o_.use_cache;
    options.questions = question_options();
    options.n_best = o_.n_best;
    return make_predictor(task_, *pipeline_, options);
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
    const std::unique_ptr<Predictor> task = predictor();
    Json answer;
    timed("answer", [&] {
      const std::unique_ptr<const Predictor::Prepared> prepared = task->prepare(request);
      const Predictor::Prepared* one = prepared.get();
      answer = std::move(task->answer({&one, 1}, watched())[0]);
    });
    if (answer.contains("truncated")) log_warning("the text was cut at {} tokens", pipeline_->max_length());
    fmt::print("{}", task->describe(answer));
    report_.update(answer);
  }

  void answer_one() {
    for (const auto& [flag, text] : {std::pair("question", *o_.question), std::pair("context", *o_.context)})
      if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
        fail("[predict] --{} is not valid UTF-8 at byte {}", flag, bad + 1);
    const pipeline::QuestionAnswerer answerer(*pipeline_, question_options());
    size_t windows = 0;
    pipeline::Answer answer;
    timed("answer", [&] {
      const pipeline::PreparedQuestion prepared =
          answerer.prepare({*o_.question, *o_.context, "of the command line"});
      const pipeline::PreparedQuestion* one = &prepared;
      windows = prepared.features.size();
      answer = std::move(answerer.answer_together({&one, 1}, watched())[0]);
    });
    report_.update(answer_json(answer, o_.n_best));
    const auto place = [](const Json& answer) {
      return fmt::format("score {:.4f}, characters {} to {}", answer.at("score").get<double>(),
                         answer.at("start").get<int64_t>(), answer.at("end").get<int64_t>());
    };
    fmt::print("{}\n  {}; {} window{} in {:.1f} ms on {}\n", report_.at("answer").get<std::string>(),
               place(report_), windows, windows == 1 ? "" : "s", 1e3 * seconds_of("answer"),
               machine_text(pipeline_->session()));
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
    std::vector<pipeline::RowLogits> logits;
    std::vector<tasks::ExampleAnswer> answers;
    const engine::Session& session = pipeline_->session();
    const pipeline::Answerer answerer(*pipeline_, question_options());
    timed("features",
          [&] { features = answerer.features_of(examples, session.threads(), progress_.sink()); });
    timed("answer",
          [&] { logits = answerer.logits_of(pipeline::rows_of(*features), {.progress = progress_.sink()}); });
    timed("choose", [&] { answers = answerer.choose(examples, *features, logits); });
    constexpr JsonStyle kFile{4, false, true, true};  // as the original writes them
    if (o_.n_best_output)
      write_file(*o_.n_best_output, dump_json(tasks::n_best_json(examples, answers), kFile));
    output.write(dump_json(tasks::predictions_json(examples, answers), kFile));
    output.commit();
    log_info("{} questions in {} windows: {:.2f} s, {:.1f} windows a second on {}; answers in {}",
             examples.size(), features->size(), seconds_of("answer"),
             static_cast<double>(features->size()) / seconds_of("answer"), machine_text(session), *o_.output);
    report_["questions"] = examples.size();
    report_["windows"] = features->size();
  }

  int answer_lines_of_requests() {
    const std::unique_ptr<Predictor> task = predictor();
    const bool questions = task_ == pipeline::TaskKind::kQuestions;
    const auto read = [&](const LineReader::Line& line, size_t longest, Json& id) {
      if (!questions) return parse_text(line, longest, id).request;
      QuestionRequest request = parse_question(line, longest, id);
      return TextRequest{std::move(request.question),
                         std::move(request.context),
                         {},
                         fmt::format("of line {}", line.number)};
    };
    return answer_standard_input([&](LineReader& reader, const TextSink& sink) {
      return answer_lines(
          reader, *task, read, pipeline_->tokens_per_batch(), watched(), [&] { progress_.check(); }, sink);
    });
  }

  /// `answer` reads requests and writes answers.
  template <class Answer>
  int answer_standard_input(const Answer& answer) {
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
    timed("answer", [&] { counts = answer(reader, sink); });
    if (output) output->commit();
    report_["answered"] = counts.answered;
    report_["refused"] = counts.refused;
    if (counts.refused == 0) return 0;
    log(LogLevel::kError,
        fmt::format("{} of {} lines could not be answered; their errors stand among the answers",
                    counts.refused, counts.answered + counts.refused));
    return 2;
  }

  /// Ends runs after Ctrl-C.
  pipeline::RunControl watched() {
    return {.progress = [this](auto&&...) { progress_.check(); }};
  }

  PredictOptions o_;
  TerminalProgress progress_;
  fs::path file_;
  pipeline::TaskKind task_ = pipeline::TaskKind::kQuestions;
  bool has_modules_ = false;  ///< modules.json lies beside the file
  std::optional<pipeline::Pipeline> pipeline_;
  Json report_ = Json::object(), seconds_ = Json::object();
};

}  // namespace

int run_predict(const Arguments& arguments) {
  std::optional<PredictOptions> options = parse_predict(arguments);
  if (!options) return 0;
  return Prediction(std::move(*options)).run();
}

}  // namespace qdqbert::cli
