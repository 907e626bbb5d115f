#include "cli/predict_options.h"

#include "qdqbert/base/error.h"

namespace qdqbert::cli {

std::optional<PredictOptions> parse_predict(const Arguments& arguments) {
  PredictOptions o;
  ArgumentParser parser("predict",
                        "MODEL (--question Q --context C | --squad FILE --output FILE | < LINES) [flags]",
                        "Answers questions with an ONNX file: one question; those of a SQuAD file (id to "
                        "text, as predictions.json); or "
                        "JSON lines\n{\"id\", \"question\", \"context\"} on standard input, each answered by "
                        "a line {\"id\", \"answer\", "
                        "\"score\", \"start\", \"end\"} with start and\nend in Unicode code points of the "
                        "context. A line that cannot be "
                        "answered gets {\"id\", \"line\", \"error\"}; the exit code is 2 then.");
  parser.add_positional("MODEL", o.model, "an ONNX file, or a directory with model.onnx");
  parser.group("questions");
  parser.add("question", o.question, "one question");
  parser.add("context", o.context, "the text that answers it");
  parser.add("squad", o.squad, "a SQuAD file (.json, .jsonl, .csv, each also .gz)");
  parser.add_switch("raw", o.raw,
                    "for any model: JSON lines {\"id\", \"input_ids\", \"token_type_ids\"} on standard input "
                    "to lines with all "
                    "outputs");
  parser.add("tokenizer", o.tokenizer, "tokenizer directory or vocabulary (default: beside the ONNX file)");
  parser.add("max_seq_length", o.max_seq_length, "longest window of question and context, in tokens");
  parser.add(
      "doc_stride", o.doc_stride,
      "tokens that consecutive windows of a long context share (default: a third of --max_seq_length)");
  parser.add("tokens_per_batch", o.tokens_per_batch, "windows are run together up to so many tokens");
  parser.group("answers");
  parser.add("output", o.output, "file for the answers; needed with --squad, else standard output");
  parser.add("n_best", o.n_best, "answers for each question");
  parser.add("n_best_output", o.n_best_output, "with --squad: all candidates, as nbest_predictions.json");
  parser.add("n_best_size", o.answers.n_best_size, "candidates that are looked at");
  parser.add("max_answer_length", o.answers.max_answer_length, "tokens");
  parser.add_switch("version_2_with_negative", o.answers.version_2,
                    "questions may have no answer, which is \"\"");
  parser.add("null_score_diff_threshold", o.answers.null_score_diff_threshold,
             "no answer when its score is higher by more than this");
  parser.add("json", o.json, "write counts and seconds to this file");
  o.engine.add_to(parser, true, false);
  if (!parser.parse(arguments)) return std::nullopt;
  o.length_given = parser.given("max_seq_length");
  if (o.question.has_value() != o.context.has_value())
    fail<UsageError>("[predict] --question and --context go together, --{} is missing",
                     o.question ? "context" : "question");
  if ((o.question ? 1 : 0) + (o.squad ? 1 : 0) + (o.raw ? 1 : 0) > 1)
    fail<UsageError>("[predict] --question, --squad and --raw are three ways to ask, give one");
  if (o.squad && !o.output) fail<UsageError>("[predict] --squad needs --output FILE for the answers");
  if (o.question && o.output)
    fail<UsageError>("[predict] --question prints its answer; --json FILE writes it to a file");
  if (o.n_best_output && !o.squad)
    fail<UsageError>("[predict] --n_best_output goes with --squad; elsewhere --n_best N");
  const auto at_least_one = [](const char* flag, int64_t value) {
    constexpr int64_t kMost = 1'000'000'000;
    if (value < 1 || value > kMost)
      fail<UsageError>("[predict] --{} is {}, 1 to {} are possible", flag, value, kMost);
  };
  at_least_one("max_seq_length", o.max_seq_length);
  at_least_one("tokens_per_batch", o.tokens_per_batch);
  at_least_one("n_best", o.n_best);
  at_least_one("n_best_size", o.answers.n_best_size);
  at_least_one("max_answer_length", o.answers.max_answer_length);
  if (o.doc_stride && (*o.doc_stride < 0 || *o.doc_stride >= o.max_seq_length))
    fail<UsageError>("[predict] --doc_stride is {}, 0 to {} are possible with --max_seq_length {}",
                     *o.doc_stride, o.max_seq_length - 1, o.max_seq_length);
  o.engine.options();
  return o;
}

}  // namespace qdqbert::cli
