// A model with its tokenizer: what every task is made of.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/engine/session.h"
#include "qdqbert/pipeline/model_facts.h"
#include "qdqbert/text/tokenizer.h"

namespace qdqbert::pipeline {

struct PipelineOptions {
  engine::SessionOptions session;
  std::filesystem::path tokenizer;  ///< a directory or file; empty: beside the model
  /// Tokens of a text with special ones; less where tokenizer or model end before. Default: 384, and what a
  /// sentence-transformers folder says of its own.
  std::optional<size_t> max_length;
  size_t tokens_per_batch = 2048;  ///< texts share a run up to so many; a longer text runs alone
};

/// Work was stopped by its std::stop_token; there is no answer.
class Cancelled : public Error {
 public:
  using Error::Error;
};

/// How one call is watched and ended.
struct RunControl {
  ProgressSink progress = {};  ///< after each run; may throw, which ends the call with that exception
  std::stop_token stop = {};   ///< looked at before each run
  /// Throws Cancelled when a stop was requested.
  void check() const;
  /// Tells `progress`.
  void report(std::string_view what, size_t done, size_t total) const;
};

/// Copies share one model. Everything is const, so any number of threads may use one; how many runs go on
/// side by side is SessionOptions::streams, further ones wait.
class Pipeline {
 public:
  /// `model`: a directory with model.onnx (or onnx/model.onnx) and its tokenizer, or an ONNX file beside it.
  /// Throws InputError when a file is missing, cannot run or does not fit the others, UsageError for options
  /// of 0.
  static Pipeline from_directory(const std::filesystem::path& model, const PipelineOptions& options = {});

  /// Of parts that somebody else made. `name` stands in messages; options.session and options.tokenizer say
  /// nothing here.
  Pipeline(std::string name, engine::Session session, text::Tokenizer tokenizer, ModelFacts facts,
           const PipelineOptions& options = {});

  const engine::Session& session() const;
  const text::Tokenizer& tokenizer() const;
  const ModelFacts& facts() const;  ///< of config.json
  /// What the model is for, by config.json or the names of its outputs.
  std::optional<TaskKind> task() const;
  /// Throws InputError naming both when the model is known to be for another task.
  void require(TaskKind task) const;
  const std::string& name() const;  ///< the ONNX file, as messages call it
  size_t max_length() const;        ///< of the options, bounded by tokenizer and model
  size_t tokens_per_batch() const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

}  // namespace qdqbert::pipeline
