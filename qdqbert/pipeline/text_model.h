// A session over tokenized texts: one output of the graph for each of them, in batches by tokens.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/engine/session.h"
#include "qdqbert/pipeline/pipeline.h"
#include "qdqbert/text/encoding.h"

namespace qdqbert::pipeline {

/// Values of one output for one text: a row for each token, or a single one.
struct TextOutput {
  size_t rows = 0, columns = 0;
  std::vector<float> values;
  std::span<const float> row(size_t i) const { return std::span(values).subspan(i * columns, columns); }
};

class TextModel {
 public:
  /// `name` stands in messages. `output`: the one that is read; it has a row for each token or for each text.
  /// Throws InputError naming the outputs that there are when it has not.
  TextModel(const engine::Session& session, std::string name, const std::string& output, bool by_token,
            size_t tokens_per_batch);

  const engine::Session& session() const { return session_; }
  const std::string& name() const { return name_; }
  /// Of a row.
  size_t columns() const { return columns_; }

  /// The same for some tokens of each text, places within it in ascending order; at least one
  /// a text. Of models that make a score for each word of a vocabulary, nothing else is computed
  /// where the session can run without padding.
  std::vector<TextOutput> run_tokens(std::span<const text::Encoding* const> texts,
                                     std::span<const std::vector<uint32_t>> tokens,
                                     const RunControl& control) const;

  /// Outputs in the order of the texts.
  std::vector<TextOutput> run(std::span<const text::Encoding* const> texts, const RunControl& control) const;

 private:
  /// `tokens`: for each text, or empty for all.
  std::vector<TextOutput> run_batch(std::span<const text::Encoding* const> texts,
                                    std::span<const std::vector<uint32_t>* const> tokens) const;
  std::vector<TextOutput> run_batches(std::span<const text::Encoding* const> texts,
                                      std::span<const std::vector<uint32_t>> tokens,
                                      const RunControl& control) const;

  const engine::Session& session_;
  std::string name_;
  size_t output_ = 0, columns_ = 0, tokens_per_batch_;
  bool by_token_;
};

/// The output of that name; the first one when `name` is empty or there is only one. Throws InputError.
size_t find_output(const engine::Session& session, const std::string& model, const std::string& name);

}  // namespace qdqbert::pipeline
