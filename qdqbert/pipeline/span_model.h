// A session that answers questions: start and end logits for windows of texts.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/log.h"
#include "qdqbert/engine/session.h"
#include "qdqbert/tasks/squad_evaluation.h"

namespace qdqbert::pipeline {

/// Which rows share a run: as many as fit `budget` tokens, at least one. Without padding the order is kept;
/// with padding rows of similar length come together, longest first, and padding counts.
std::vector<std::vector<size_t>> batches_by_tokens(std::span<const size_t> lengths, size_t budget,
                                                   bool padding);

/// Which rows may share a run of a session whose texts see padding (see Session::hides_padding()): those of one
/// length, in order. All of them, in one group, where padding is hidden.
std::vector<std::vector<size_t>> without_seen_padding(std::span<const size_t> lengths,
                                                      const engine::Session& session);

/// One row of a set of features. These must be made without padding (pad_to_max_length false).
struct FeatureRow {
  const tasks::SquadFeatures* features;
  size_t index;
  size_t length() const { return (*features)[index].length; }
};

/// Logits of the tokens of one row.
struct RowLogits {
  std::vector<float> start, end;
};

class SpanModel {
 public:
  /// Throws InputError, saying which outputs there are, when they are not
  /// a start and an end logit for each token.
  SpanModel(const engine::Session& session, std::string name);

  const engine::Session& session() const { return session_; }

  /// One run, without padding where the session can.
  std::vector<RowLogits> run(std::span<const FeatureRow> rows) const;
  /// One run of rows that are padded to `width` columns, `seconds` is the time of the run alone; of a file
  /// without a mask a run for each length, without padding.
  std::vector<RowLogits> run_padded(std::span<const FeatureRow> rows, size_t width,
                                    double* seconds = nullptr) const;

 private:
  std::vector<RowLogits> run_equal(std::span<const FeatureRow> rows, size_t width, double& seconds) const;
  std::vector<RowLogits> split(std::vector<engine::Output> outputs, std::span<const FeatureRow> rows,
                               size_t width) const;

  const engine::Session& session_;
  std::string name_;
  size_t start_ = 0, end_ = 1;
};

}  // namespace qdqbert::pipeline
