#include "cli/predict_lines.h"

#include <optional>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/check_finite.h"

#include "cli/answer_text.h"
#include "cli/output_check.h"

namespace qdqbert::cli {

namespace {

constexpr JsonStyle kLine{-1, false, false, true};
constexpr int kLook = 100;             // milliseconds between looks at Ctrl-C
constexpr size_t kMostWaiting = 1024;  // lines that are wrong have no tokens, yet take memory

/// One line of input and what becomes of it.
struct Pending {
  Json id;
  int64_t line = 0;
  std::string error;
  std::vector<tasks::SquadExample> examples;  ///< one, unless the line is wrong
  std::optional<tasks::SquadFeatures> features;
  size_t tokens = 0;
};

Pending read_request(const LineReader::Line& line, size_t longest, const Answerer& answerer) {
  Pending pending;
  pending.line = line.number;
  try {
    QuestionRequest request = parse_question(line, longest, pending.id);
    pending.examples.push_back(example_of(fmt::format("of line {}", line.number), std::move(request.question),
                                          std::move(request.context)));
    pending.features = answerer.features_of(pending.examples);
    for (size_t f = 0; f < pending.features->size(); ++f) pending.tokens += (*pending.features)[f].length;
  } catch (const InputError& error) {
    pending.error = error.what();
    pending.features.reset();
  }
  return pending;
}

/// Logits of each request. What the session refuses is asked again alone,
/// so that only the culprit gets the error.
std::vector<std::vector<RowLogits>> logits_of(std::vector<Pending*>& requests, const Answerer& answerer,
                                              const std::function<void()>& look) {
  std::vector<FeatureRow> rows;
  for (const Pending* pending : requests) {
    const std::vector<FeatureRow> more = rows_of(*pending->features);
    rows.insert(rows.end(), more.begin(), more.end());
  }
  std::vector<std::vector<RowLogits>> logits(requests.size());
  try {
    std::vector<RowLogits> all = answerer.logits_of(rows, [&](auto&&...) { look(); });
    auto from = all.begin();
    for (size_t i = 0; i < requests.size(); ++i)
      for (size_t f = 0; f < requests[i]->features->size(); ++f) logits[i].push_back(std::move(*from++));
  } catch (const InputError& error) {
    if (requests.size() == 1) requests[0]->error = error.what();
    for (size_t i = 0; requests.size() > 1 && i < requests.size(); ++i) {
      std::vector<Pending*> alone = {requests[i]};
      logits[i] = std::move(logits_of(alone, answerer, look)[0]);
    }
  }
  return logits;
}

std::string answer_all(std::vector<Pending>& waiting, const Answerer& answerer, const PredictOptions& options,
                       const std::function<void()>& look, LineCounts& counts) {
  std::vector<Pending*> good;
  for (Pending& pending : waiting)
    if (pending.error.empty()) good.push_back(&pending);
  std::vector<std::vector<RowLogits>> logits = logits_of(good, answerer, look);
  std::string text;
  size_t next = 0;
  for (const Pending& pending : waiting) {
    const bool asked = next < good.size() && good[next] == &pending;
    const std::vector<RowLogits>* rows = asked ? &logits[next++] : nullptr;
    if (!pending.error.empty()) {
      text += error_line(pending.id, pending.line, pending.error);
      ++counts.refused;
      continue;
    }
    Json line = {{"id", pending.id}};
    try {
      const auto answers = answerer.choose(pending.examples, *pending.features, *rows);
      line.update(answer_json(answers[0], options.answers, options.n_best));
    } catch (const InputError& error) {
      text += error_line(pending.id, pending.line, error.what());
      ++counts.refused;
      continue;
    }
    text += dump_json(line, kLine);
    ++counts.answered;
  }
  return text;
}

/// A text and what becomes of it.
struct PendingText {
  Json id;
  int64_t line = 0;
  std::string error;
  TextRequest request;
  TaskTexts encoded;
  size_t tokens = 0;
};

PendingText read_text(const LineReader::Line& line, size_t longest, const Predictor& task) {
  PendingText pending;
  pending.line = line.number;
  try {
    pending.request = parse_text(line, longest, pending.id).request;
    pending.encoded = task.encode(pending.request);
    for (const text::Encoding& text : pending.encoded.texts) pending.tokens += text.ids.size();
  } catch (const InputError& error) {
    pending.error = error.what();
    pending.encoded.texts.clear();
  }
  return pending;
}

/// Outputs of each request; as logits_of().
std::vector<std::vector<TextOutput>> outputs_of(std::vector<PendingText*>& requests, const Predictor& task,
                                                const std::function<void()>& look) {
  std::vector<const text::Encoding*> texts;
  for (const PendingText* pending : requests)
    for (const text::Encoding& text : pending->encoded.texts) texts.push_back(&text);
  std::vector<std::vector<TextOutput>> outputs(requests.size());
  try {
    std::vector<TextOutput> all = task.run(texts, look);
    require_numbers(all);
    auto from = all.begin();
    for (size_t i = 0; i < requests.size(); ++i)
      for (size_t t = 0; t < requests[i]->encoded.texts.size(); ++t) outputs[i].push_back(std::move(*from++));
  } catch (const InputError& error) {
    if (requests.size() == 1) requests[0]->error = error.what();
    for (size_t i = 0; requests.size() > 1 && i < requests.size(); ++i) {
      std::vector<PendingText*> alone = {requests[i]};
      outputs[i] = std::move(outputs_of(alone, task, look)[0]);
    }
  }
  return outputs;
}

std::string answer_texts(std::vector<PendingText>& waiting, const Predictor& task,
                         const std::function<void()>& look, LineCounts& counts) {
  std::vector<PendingText*> good;
  for (PendingText& pending : waiting)
    if (pending.error.empty()) good.push_back(&pending);
  const std::vector<std::vector<TextOutput>> outputs = outputs_of(good, task, look);
  std::string text;
  size_t next = 0;
  for (const PendingText& pending : waiting) {
    const bool asked = next < good.size() && good[next] == &pending;
    const std::vector<TextOutput>* rows = asked ? &outputs[next++] : nullptr;
    if (!pending.error.empty()) {
      text += error_line(pending.id, pending.line, pending.error);
      ++counts.refused;
      continue;
    }
    Json line = {{"id", pending.id}};
    line.update(task.answer(pending.request, pending.encoded.texts, *rows));
    if (pending.encoded.truncated) line["truncated"] = true;
    text += dump_json(line, kLine);
    ++counts.answered;
  }
  return text;
}

bool is_blank(const LineReader::Line& line) {
  return !line.too_long && line.text.find_first_not_of(" \t") == std::string::npos;
}

/// Lines that have arrived, together.
template <class Request, class Read, class Answer>
void read_in_batches(LineReader& reader, const PredictOptions& options, const std::function<void()>& look,
                     const Read& read, const Answer& answer) {
  std::vector<Request> waiting;
  size_t tokens = 0;
  for (LineReader::Result result = LineReader::Result::kLine; result != LineReader::Result::kEnd;) {
    look();
    LineReader::Line line;
    result = reader.next(line, waiting.empty() ? kLook : 0);
    if (result == LineReader::Result::kLine) {
      if (is_blank(line)) continue;
      waiting.push_back(read(line));
      tokens += waiting.back().tokens;
      if (tokens < static_cast<size_t>(options.tokens_per_batch) && waiting.size() < kMostWaiting) continue;
    }
    if (waiting.empty()) continue;
    answer(waiting);
    waiting.clear();
    tokens = 0;
  }
}

}  // namespace

LineCounts answer_lines(LineReader& reader, const Answerer& answerer, const PredictOptions& options,
                        const std::function<void()>& look, const TextSink& sink) {
  LineCounts counts;
  read_in_batches<Pending>(
      reader, options, look,
      [&](const LineReader::Line& line) { return read_request(line, reader.longest(), answerer); },
      [&](std::vector<Pending>& waiting) { sink(answer_all(waiting, answerer, options, look, counts)); });
  return counts;
}

LineCounts answer_text_lines(LineReader& reader, const Predictor& task, const PredictOptions& options,
                             const std::function<void()>& look, const TextSink& sink) {
  LineCounts counts;
  read_in_batches<PendingText>(
      reader, options, look,
      [&](const LineReader::Line& line) { return read_text(line, reader.longest(), task); },
      [&](std::vector<PendingText>& waiting) { sink(answer_texts(waiting, task, look, counts)); });
  return counts;
}

LineCounts answer_raw_lines(LineReader& reader, const engine::Session& session,
                            const std::function<void()>& look, const TextSink& sink) {
  LineCounts counts;
  for (LineReader::Result result = LineReader::Result::kLine; result != LineReader::Result::kEnd;) {
    look();
    LineReader::Line line;
    result = reader.next(line, kLook);
    if (result != LineReader::Result::kLine || is_blank(line)) continue;
    Json id;
    try {
      const IdsRequest request = parse_ids(line, reader.longest(), id);
      engine::PaddedBatch<int32_t> batch;
      batch.batch = 1;
      batch.length = request.input_ids.size();
      batch.input_ids = request.input_ids;
      batch.token_type_ids = request.token_type_ids;
      batch.choices = session.by_choices() ? 1 : 0;
      Json answer = {{"id", id}, {"outputs", Json::object()}};
      for (const engine::Output& output : session.run(batch)) {
        engine::check_finite(output.values, "the model", output.name);
        answer["outputs"][output.name] = {{"shape", output.shape}, {"values", output.values}};
      }
      sink(dump_json(answer, kLine));
      ++counts.answered;
    } catch (const InputError& error) {
      sink(error_line(id, line.number, error.what()));
      ++counts.refused;
    }
  }
  return counts;
}

}  // namespace qdqbert::cli
