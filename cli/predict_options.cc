#include "cli/predict_options.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "qdqbert/base/error.h"
#include "qdqbert/pipeline/model_facts.h"
#include "qdqbert/tasks/sentence_embedding.h"

namespace qdqbert::cli {

pipeline::TaskKind predict_task_named(std::string_view name) {
  const std::vector<std::string>& names = pipeline::task_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    fail<UsageError>("[predict] --task {} is unknown; use {}", name, fmt::join(names, ", "));
  return static_cast<pipeline::TaskKind>(found - names.begin());
}

std::optional<PredictOptions> parse_predict(const Arguments& arguments) {
  PredictOptions o;
  ArgumentParser parser(
      "predict", "MODEL (--text T | --question Q --context C | --squad FILE --output FILE | < LINES) [flags]",
      "Answers from an ONNX file, for the task that config.json beside it names: one text or question; the questions\n"
      "of a SQuAD file; or JSON lines on standard input, each answered by a line with the same id. What a line\n"
      "holds, and what its answer:\n"
      "  qa             question, context                answer, score, start, end\n"
      "  classify       text, text_pair if any           label, score, scores; several labels: labels; regression: value\n"
      "  tag            text                             entities: entity, score, start, end, text\n"
      "  choose         text, choices                    choice (counted from 0), text, scores\n"
      "  fill-mask      text with [MASK]                 masks: for each the fillers (token, id, score, text)\n"
      "  next-sentence  text, text_pair                  is_next, score\n"
      "  generate       text                             text, tokens, score, finish (end, length)\n"
      "  embed          text                             embedding\n"
      "The text may also be \"prompt\", \"sentence\" or \"sentence1\", and its pair \"sentence2\", as in the lines of\n"
      "training data; keys that are not known are passed over.\n"
      "Places are counted in Unicode code points. A line that cannot be answered gets {\"id\", \"line\", \"error\"}; the\n"
      "exit code is 2 then. An answer to a text that was cut at --max_seq_length has \"truncated\": true.");
  parser.add_positional("MODEL", o.model, "an ONNX file, or a directory with model.onnx");
  std::vector<std::string> tasks = pipeline::task_names();
  tasks.insert(tasks.begin(), "auto");
  parser.add_choice("task", o.task, tasks,
                    "what the model does; auto: what `architectures` of config.json says");
  parser.group("texts");
  parser.add("text", o.text, "one text");
  parser.add("text_pair", o.text_pair, "the second text of a pair");
  parser.add("choices", o.choices, "the choices of a multiple-choice model, each an argument");
  parser.add("top_k", o.top_k, "labels or fillers that an answer lists; tokens to draw from");
  parser.add("threshold", o.threshold, "score from which on a label holds, where several may hold");
  std::vector<std::string> poolings = tasks::pooling_names();
  poolings.insert(poolings.begin(), {"model", "first"});
  parser.add_choice(
      "pooling", o.pooling, poolings,
      "embeddings: as modules.json beside the file says, else the mean over all tokens; first is cls");
  parser.add("normalize", o.normalize,
             "embeddings of length 1 (default: where modules.json says so, or is absent)");
  parser.add(
      "prompt_name", o.prompt_name,
      "embeddings: the prompt before every text, by its name in config_sentence_transformers.json (default: "
      "the one that is named there; \"\": none)");
  parser.group("generated texts");
  int64_t seed = static_cast<int64_t>(o.generation.seed);
  parser.add("max_new_tokens", o.generation.max_new_tokens, "length of a continuation, in tokens");
  parser.add("num_beams", o.generation.beams, "beam search over so many texts");
  parser.add("do_sample", o.generation.sample, "draw tokens instead of taking the most probable");
  parser.add("temperature", o.generation.temperature, "sampling: logits are divided by it");
  parser.add("top_p", o.generation.top_p,
             "sampling: the most probable tokens that together reach this (--top_k N: "
             "at most N of them, default 50)");
  parser.add("repetition_penalty", o.generation.repetition_penalty, "for tokens that occurred, 1: none");
  parser.add("length_penalty", o.generation.length_penalty, "of beams: score / length ^ penalty");
  parser.add("seed", seed, "of sampling");
  parser.add("use_cache", o.use_cache, "keep keys and values; without, the same text takes longer");
  parser.group("questions");
  parser.add("question", o.question, "one question");
  parser.add("context", o.context, "the text that answers it");
  parser.add("squad", o.squad, "a SQuAD file (.json, .jsonl, .csv, each also .gz)");
  parser.add_switch("raw", o.raw,
                    "for any model: JSON lines {\"id\", \"input_ids\", \"token_type_ids\"} on standard "
                    "input to lines with all outputs");
  parser.add("tokenizer", o.tokenizer, "tokenizer directory or vocabulary (default: beside the ONNX file)");
  parser.add("max_seq_length", o.max_seq_length,
             "longest text, or window of question and context, in tokens");
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
  o.normalize_given = parser.given("normalize");
  o.generation.seed = static_cast<uint64_t>(seed);
  if (parser.given("top_k")) o.generation.top_k = o.top_k;
  if (o.question.has_value() != o.context.has_value())
    fail<UsageError>("[predict] --question and --context go together, --{} is missing",
                     o.question ? "context" : "question");
  if ((o.question ? 1 : 0) + (o.squad ? 1 : 0) + (o.raw ? 1 : 0) + (o.text ? 1 : 0) > 1)
    fail<UsageError>("[predict] --text, --question, --squad and --raw are four ways to ask, give one");
  if (!o.text && (o.text_pair || !o.choices.empty()))
    fail<UsageError>("[predict] --{} goes with --text", o.text_pair ? "text_pair" : "choices");
  if (o.text && o.output)
    fail<UsageError>("[predict] --text prints its answer; --json FILE writes it to a file");
  if (!(o.threshold >= 0 && o.threshold <= 1))
    fail<UsageError>("[predict] --threshold is {}, 0 to 1 are possible", o.threshold);
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
  at_least_one("top_k", o.top_k);
  at_least_one("max_new_tokens", o.generation.max_new_tokens);
  at_least_one("num_beams", o.generation.beams);
  o.generation.validate();
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
