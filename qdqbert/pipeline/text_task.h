// Tasks whose model reads texts or pairs of texts and gives one output for each.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/pipeline/task.h"
#include "qdqbert/pipeline/text_model.h"
#include "qdqbert/text/encoding.h"

namespace qdqbert::pipeline {

struct TextRequest {
  std::string text;                   ///< UTF-8; empty for embeddings alone
  std::optional<std::string> pair{};  ///< the second text of a pair
};

/// What the model has to see for one request.
struct PreparedText {
  std::string text;                  ///< that was given, for places in it
  std::vector<text::Encoding> rows;  ///< without padding
  bool truncated = false;            ///< an end was cut off to fit the model
  size_t tokens() const;             ///< of all rows
};

/// Throws InputError naming the place for text that is not UTF-8, and for an empty one.
void check_text(std::string_view text);

enum class EmptyText { kRefused, kAllowed };

/// Adds the row of a text or pair to `to`, cut (longest first) to pipeline.max_length().
void encode_text(const Pipeline& pipeline, const TextRequest& request, PreparedText& to,
                 EmptyText empty = EmptyText::kRefused);
PreparedText encode_text(const Pipeline& pipeline, const TextRequest& request,
                         EmptyText empty = EmptyText::kRefused);

template <class Request, class Answer>
class TextTask : public Task<Request, PreparedText, Answer> {
 public:
  std::vector<Answer> answer_together(std::span<const PreparedText* const> prepared,
                                      const RunControl& control = {}) const override {
    std::vector<const text::Encoding*> rows;
    for (const PreparedText* one : prepared)
      for (const text::Encoding& row : one->rows) rows.push_back(&row);
    const std::vector<TextOutput> outputs = run(rows, control);
    std::vector<Answer> answers;
    std::span<const TextOutput> rest = outputs;
    for (const PreparedText* one : prepared) {
      answers.push_back(answer_from(*one, rest.first(one->rows.size())));
      rest = rest.subspan(one->rows.size());
    }
    return answers;
  }

 protected:
  /// The output `output` of the model has a row for each token, or for each text. Files of others may call a
  /// single output as they like. Throws InputError when the model is for another task or has no such output.
  TextTask(Pipeline pipeline, TaskKind task, const std::string& output, bool by_token, size_t most_tokens)
      : Task<Request, PreparedText, Answer>((pipeline.require(task), std::move(pipeline))),
        model_(this->pipeline().session(), this->pipeline().name(),
               this->pipeline().session().output_names().size() == 1
                   ? this->pipeline().session().output_names()[0]
                   : output,
               by_token, std::min(most_tokens, this->pipeline().tokens_per_batch())) {}

  const TextModel& model() const { return model_; }

 private:
  virtual std::vector<TextOutput> run(std::span<const text::Encoding* const> rows,
                                      const RunControl& control) const {
    return model_.run(rows, control);
  }
  /// `outputs`: one for each row of `prepared`.
  virtual Answer answer_from(const PreparedText& prepared, std::span<const TextOutput> outputs) const = 0;

  TextModel model_;
};

inline constexpr size_t kAnyTokens = ~size_t{0};  ///< runs are as long as the pipeline's options say

}  // namespace qdqbert::pipeline
