// Several processes that train, calibrate or evaluate one model together (c10d over Gloo, NCCL between GPUs).
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "qdqbert/base/error.h"
#include "qdqbert/train/launch.h"

namespace qdqbert::train {

/// A rank is gone or does not answer.
class LostRank : public Error {
 public:
  using Error::Error;
};

/// Every call is collective: all ranks make the same calls in the same order. When a rank is lost, the
/// others' next call throws LostRank, so nobody waits for ever; what a call was to change is then undefined.
class ProcessGroup {
 public:
  /// Waits until all ranks are there and connected (rendezvous.h). Throws SystemError: a rank that did not
  /// come within `patience`, or was lost on the way. A process that SIGPIPE would end ignores it from now on.
  explicit ProcessGroup(const Launch& launch, std::chrono::seconds patience = std::chrono::minutes(5));
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  /// From here on tensors of GPUs go over NCCL; `device` is this rank's. Collective.
  /// Throws UsageError for a build without it.
  void use_gpu(at::Device device);

  int rank() const { return launch_.rank; }
  int size() const { return launch_.size; }
  /// Rank 0 writes the files.
  bool writes_files() const { return rank() == 0; }

  /// In place; contiguous tensors of one shape on all ranks, on the CPU or on the GPUs of use_gpu(). The same
  /// bits on every rank. For GPUs the call is put behind their work, and nobody waits.
  void sum(const at::Tensor& tensor);
  void maximum(const at::Tensor& tensor);
  void broadcast(const at::Tensor& tensor, int root = 0);
  void barrier();
  /// What each rank gave, by rank; lengths may differ.
  std::vector<std::string> gather(const std::string& bytes);
  /// Throws UsageError on every rank, naming the first rank that disagrees, unless all gave
  /// the same text for `what` ("the flags").
  void require_equal(const std::string& what, const std::string& text);

  struct Pending;
  /// Starts a sum; wait() on the result ends it.
  /// Several may be under way and end in the order of their start.
  std::unique_ptr<Pending> start_sum(const at::Tensor& tensor);
  void wait(Pending& pending);

 private:
  struct Connection;
  template <class Call>
  void guarded(const char* doing, Call&& call);
  Launch launch_;
  std::chrono::seconds patience_;
  std::unique_ptr<Connection> connection_;
};

/// Averages gradients over the ranks while backward still runs: parameters are grouped into buckets, last
/// parameters first because their gradients come first, and a bucket is sent as soon as its last gradient is
/// there. Of embeddings, whose gradients come last, only the rows are sent that some rank's batch touched.
class GradientAverage {
 public:
  /// Hooks itself to `parameters` (float32, same order on all ranks), for its lifetime; both must outlive it.
  GradientAverage(ProcessGroup& group, std::vector<at::Tensor> parameters);
  ~GradientAverage();
  GradientAverage(const GradientAverage&) = delete;
  GradientAverage& operator=(const GradientAverage&) = delete;

  /// Before the backward pass whose gradients are complete (the last of an accumulation).
  void arm();
  /// After it: every gradient is the mean over the ranks, and lies in memory of this object until the next
  /// arm(). A parameter without gradient counts as 0 and keeps none.
  void finish();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace qdqbert::train
