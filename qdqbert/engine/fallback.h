// Requests that a plan does not hold for: found before they run packed, and run as the file is written.
#pragma once

#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/engine/passes/assumptions.h"
#include "qdqbert/engine/plan/plan.h"
#include "qdqbert/engine/unpacked.h"

namespace qdqbert::engine {

class Fallback {
 public:
  /// `original` as imported, `before` and `assumptions` as run_passes() left them. The plan outlives this.
  Fallback(const Plan& plan, Graph original, Graph before, std::vector<Assumption> assumptions, int threads);

  /// Why the request cannot run by the plan; empty when it can. Thread-safe. Sizes of spans are those that
  /// the batch says, offsets are checked.
  template <class Integer>
  std::string reason(const PaddedBatch<Integer>& batch) const;
  std::string reason(const PackedTexts& texts, std::span<TextCache* const> caches) const;

  /// As the file is written, for a `reason`. Positions that the mask hides are 0. Throws InputError for what
  /// the plan would refuse, but for texts beyond a table that the file does not read to its end.
  template <class Integer>
  std::vector<Output> run(const PaddedBatch<Integer>& batch, const std::string& reason,
                          int64_t* nanoseconds) const;

  /// Tokens of the longest text.
  size_t longest() const { return longest_; }

 private:
  const Plan& plan_;
  std::string file_;
  Unpacked unpacked_;
  AssumptionCheck assumed_;
  size_t longest_;
  mutable std::once_flag said_;
};

}  // namespace qdqbert::engine
