// What passes took from two probes, looked at again for the sizes and masks of a request before it runs packed.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qdqbert/engine/graph.h"
#include "qdqbert/engine/passes/probe.h"

namespace qdqbert::engine {

/// What a request asks a graph with. Empty masks: ones.
struct RequestSizes {
  int64_t batch = 1, length = 1, choices = 1;
  int64_t sources = 0;  ///< of a cross-attention
  std::vector<int64_t> mask, source_mask;
};

class AssumptionCheck {
 public:
  /// `before`: as run_passes() gave it; large constants are let go.
  AssumptionCheck(Graph before, std::vector<Assumption> assumptions);

  /// Empty when every assumption holds for the request, and every value computed from ids has the shape that
  /// follows from the probes; else a sentence about the first that does not. Remembered by sizes; by the mask,
  /// too, only where an element of a bias may depend on more of it than on its own key. Thread-safe.
  std::string broken(RequestSizes sizes) const;

  /// The greatest number of tokens of a text for which no table ends; SIZE_MAX when none is known to.
  size_t longest() const;

 private:
  /// A size of a value's shape in both probes: the sum of these many of each.
  struct Size {
    int64_t constant = 0, batch = 0, length = 0, product = 0, sources = 0, choices = 0, rows = 0;
  };
  struct Watched {
    ValueId id;
    Assumption assumption;
  };
  struct Shaped {
    ValueId id;
    std::vector<Size> sizes;
  };

  static std::optional<Size> size_of(const Probes& probes, int64_t first, int64_t second);
  void remember_shapes();
  std::string ask(const RequestSizes& sizes, bool all_queries) const;
  std::string ask_for_all_masks(RequestSizes sizes) const;

  Graph graph_;
  std::vector<Watched> watched_;
  std::vector<Shaped> shaped_;
  std::vector<std::pair<ValueId, float>> factors_;  ///< see size_factors()
  std::vector<bool> wanted_;
  bool key_by_key_ = false;  ///< see broken()
  mutable std::mutex mutex_;
  mutable std::map<std::vector<int64_t>, std::string> known_;
};

}  // namespace qdqbert::engine
