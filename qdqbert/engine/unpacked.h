// A graph over padded batches, node by node: what cannot run packed, or not for a request's sizes.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "qdqbert/engine/graph.h"
#include "qdqbert/engine/session.h"
#include "qdqbert/engine/worker_pool.h"

namespace qdqbert::engine {

/// Whether an input of that name is the mask of the texts, not of what a cross-attention reads.
bool is_text_mask(const std::string& input);

class Unpacked {
 public:
  /// `graph` as imported. Its constants are folded when something is asked for the first time: they are as
  /// large as the weights, and most sessions that keep this for odd requests never get one.
  Unpacked(Graph graph, int threads);

  /// What the reference operators lack: a sentence, or nothing.
  std::string missing() const;

  /// Thread-safe. `by_choices`: the batch goes in as [texts / choices, choices, S].
  template <class Integer>
  std::vector<Output> run(const PaddedBatch<Integer>& batch, bool by_choices,
                          int64_t* nanoseconds = nullptr) const;

 private:
  const Graph& folded() const;

  mutable Graph graph_;
  mutable std::once_flag is_folded_;
  int threads_;
  mutable std::mutex mutex_;                  ///< held by the request that uses the pool
  mutable std::unique_ptr<WorkerPool> pool_;  ///< made by the first request
};

extern template std::vector<Output> Unpacked::run(const PaddedBatch<int64_t>&, bool, int64_t*) const;
extern template std::vector<Output> Unpacked::run(const PaddedBatch<int32_t>&, bool, int64_t*) const;

}  // namespace qdqbert::engine
