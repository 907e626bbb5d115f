#include "qdqbert/pipeline/pipeline.h"

#include <algorithm>

#include "qdqbert/pipeline/model_files.h"
#include "qdqbert/tasks/sentence_folder.h"

namespace qdqbert::pipeline {

struct Pipeline::State {
  std::string name;
  engine::Session session;
  text::Tokenizer tokenizer;
  ModelFacts facts;
  size_t max_length, tokens_per_batch;
};

void RunControl::report(std::string_view what, size_t done, size_t total) const {
  if (progress) progress(what, static_cast<int64_t>(done), static_cast<int64_t>(total));
}

void RunControl::check() const {
  if (stop.stop_requested()) fail<Cancelled>("[pipeline] the caller asked to stop");
}

Pipeline::Pipeline(std::string name, engine::Session session, text::Tokenizer tokenizer, ModelFacts facts,
                   const PipelineOptions& options) {
  size_t longest = options.max_length.value_or(384);
  if (facts.sentence) {
    if (!options.max_length)
      longest = static_cast<size_t>(facts.sentence->max_seq_length.value_or(text::kNoMaxLength));
    if (facts.sentence->lower_case) tokenizer = tasks::lowercased(tokenizer);
  }
  if (longest == 0 || options.tokens_per_batch == 0)
    fail<UsageError>("[pipeline] max_length is {} and tokens_per_batch {}, both must be 1 or more", longest,
                     options.tokens_per_batch);
  const auto most = static_cast<size_t>(std::max<int64_t>(tokenizer.options().model_max_length, 0));
  const size_t length = std::min({longest, most, session.longest_text()});
  state_ = std::make_shared<const State>(State{std::move(name), std::move(session), std::move(tokenizer),
                                               std::move(facts), length, options.tokens_per_batch});
}

Pipeline Pipeline::from_directory(const std::filesystem::path& model, const PipelineOptions& options) {
  const std::filesystem::path file = find_onnx_file(model.string());
  engine::Session session(file, options.session);
  text::Tokenizer tokenizer =
      find_tokenizer(file, options.tokenizer.string(), session, "name its place: PipelineOptions::tokenizer");
  return Pipeline(file.string(), std::move(session), std::move(tokenizer), read_model_facts(file), options);
}

const engine::Session& Pipeline::session() const {
  return state_->session;
}

const text::Tokenizer& Pipeline::tokenizer() const {
  return state_->tokenizer;
}

const ModelFacts& Pipeline::facts() const {
  return state_->facts;
}

std::optional<TaskKind> Pipeline::task() const {
  return state_->facts.task ? state_->facts.task : task_of_outputs(state_->session);
}

void Pipeline::require(TaskKind wanted) const {
  const std::optional<TaskKind> known = task();
  if (known && *known != wanted)
    fail("[pipeline] {} is a model for {}, {} was asked of it", name(), name_of(*known), name_of(wanted));
}

const std::string& Pipeline::name() const {
  return state_->name;
}

size_t Pipeline::max_length() const {
  return state_->max_length;
}

size_t Pipeline::tokens_per_batch() const {
  return state_->tokens_per_batch;
}

}  // namespace qdqbert::pipeline
