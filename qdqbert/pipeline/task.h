// What all tasks share: requests in, answers out, one at a time or together.
#pragma once

#include <span>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/pipeline/pipeline.h"

namespace qdqbert::pipeline {

/// A task over one pipeline. Everything is const and as thread-safe as the session; copies share the model.
/// Answers of a session that is bit_exact() do not depend on which requests share a call.
///
/// Offsets in answers are TextSpan: code points and bytes of the text that was given. Texts are UTF-8.
template <class Request, class Prepared, class Answer>
class Task {
 public:
  using RequestType = Request;
  using PreparedType = Prepared;
  using AnswerType = Answer;

  virtual ~Task() = default;

  /// Throws InputError for a request that does not fit the task or is not UTF-8, Cancelled when control.stop
  /// says so.
  Answer answer(const Request& request, const RunControl& control = {}) const {
    const Prepared prepared = prepare(request);
    const Prepared* one = &prepared;
    return std::move(answer_together({&one, 1}, control)[0]);
  }

  /// In the order of the requests. The message of an InputError begins with the request's place, from 0.
  std::vector<Answer> answer(std::span<const Request> requests, const RunControl& control = {}) const {
    std::vector<Prepared> prepared;
    for (size_t i = 0; i < requests.size(); ++i) try {
        control.check();
        prepared.push_back(prepare(requests[i]));
      } catch (const InputError& error) {
        fail("[pipeline] request {}: {}", i, error.what());
      }
    std::vector<const Prepared*> together;
    for (const Prepared& one : prepared) together.push_back(&one);
    return answer_together(together, control);
  }

  /// The tokens of a request. A server prepares where a request arrives, and answers where the model runs.
  virtual Prepared prepare(const Request& request) const = 0;

  /// Answers of what prepare() made, whoever asked; their rows share runs of tokens_per_batch.
  virtual std::vector<Answer> answer_together(std::span<const Prepared* const> prepared,
                                              const RunControl& control = {}) const = 0;

  const Pipeline& pipeline() const { return pipeline_; }

 protected:
  explicit Task(Pipeline pipeline) : pipeline_(std::move(pipeline)) {}
  Task(const Task&) = default;
  Task(Task&&) noexcept = default;
  Task& operator=(const Task&) = default;
  Task& operator=(Task&&) noexcept = default;

 private:
  Pipeline pipeline_;
};

}  // namespace qdqbert::pipeline
