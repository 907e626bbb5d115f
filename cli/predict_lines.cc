#include "cli/predict_lines.h"

#include <memory>
#include <span>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/check_finite.h"

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
  std::unique_ptr<const Predictor::Prepared> prepared;
  Json answer;
};

/// Fills in the answers. What the session refuses is asked again alone, so that only the culprit gets the
/// error.
void answer_together(std::span<Pending* const> requests, const Predictor& task,
                     const pipeline::RunControl& control) {
  std::vector<const Predictor::Prepared*> prepared;
  for (const Pending* pending : requests) prepared.push_back(pending->prepared.get());
  try {
    std::vector<Json> answers = task.answer(prepared, control);
    for (size_t i = 0; i < requests.size(); ++i) requests[i]->answer = std::move(answers[i]);
  } catch (const InputError& error) {
    if (requests.size() == 1) requests[0]->error = error.what();
    for (size_t i = 0; requests.size() > 1 && i < requests.size(); ++i)
      answer_together(requests.subspan(i, 1), task, control);
  }
}

std::string answers_text(std::vector<Pending>& waiting, const Predictor& task,
                         const pipeline::RunControl& control, LineCounts& counts) {
  std::vector<Pending*> good;
  for (Pending& pending : waiting)
    if (pending.prepared) good.push_back(&pending);
  if (!good.empty()) answer_together(good, task, control);
  std::string text;
  for (const Pending& pending : waiting) {
    if (!pending.error.empty()) {
      text += error_line(pending.id, pending.line, pending.error);
      ++counts.refused;
      continue;
    }
    Json line = {{"id", pending.id}};
    line.update(pending.answer);
    text += dump_json(line, kLine);
    ++counts.answered;
  }
  return text;
}

bool is_blank(const LineReader::Line& line) {
  return !line.too_long && line.text.find_first_not_of(" \t") == std::string::npos;
}

}  // namespace

LineCounts answer_lines(LineReader& reader, const Predictor& task, const RequestReader& read,
                        size_t tokens_per_batch, const pipeline::RunControl& control,
                        const std::function<void()>& look, const TextSink& sink) {
  LineCounts counts;
  std::vector<Pending> waiting;
  size_t tokens = 0;
  for (LineReader::Result result = LineReader::Result::kLine; result != LineReader::Result::kEnd;) {
    look();
    LineReader::Line line;
    result = reader.next(line, waiting.empty() ? kLook : 0);
    if (result == LineReader::Result::kLine) {
      if (is_blank(line)) continue;
      Pending& pending = waiting.emplace_back();
      pending.line = line.number;
      try {
        pending.prepared = task.prepare(read(line, reader.longest(), pending.id));
        tokens += pending.prepared->tokens();
      } catch (const InputError& error) {
        pending.error = error.what();
      }
      if (tokens < tokens_per_batch && waiting.size() < kMostWaiting) continue;
    }
    if (waiting.empty()) continue;
    sink(answers_text(waiting, task, control, counts));
    waiting.clear();
    tokens = 0;
  }
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
