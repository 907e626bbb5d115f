#include "qdqbert/train/process_group.h"

#include <algorithm>
#include <csignal>
#include <limits>
#include <mutex>

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "qdqbert/base/error.h"
#include "qdqbert/train/process_backend.h"
#include "qdqbert/train/rendezvous.h"

namespace qdqbert::train {
namespace {

// Large enough that latency does not count, small enough that the first bucket leaves early in backward.
constexpr int64_t kBucketElements = int64_t{2} << 20;

// A matrix with more rows than any layer's weight is an embedding: a batch touches few of them. Looking for
// those reads the gradient once; sending it whole would copy it four times and more.
constexpr int64_t kEmbeddingRows = 8192;

/// [rows] uint8, 1 where a row of `gradient`, contiguous float32, is not all zero.
at::Tensor touched_rows(const at::Tensor& gradient) {
  const int64_t rows = gradient.size(0), columns = gradient.size(1);
  at::Tensor touched = at::empty({rows}, at::kByte);
  const float* values = gradient.data_ptr<float>();
  auto* marks = touched.data_ptr<uint8_t>();
  at::parallel_for(0, rows, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* first = values + row * columns;
      marks[row] = std::any_of(first, first + columns, [](float value) { return value != 0; }) ? 1 : 0;
    }
  });
  return touched;
}

bool is_this_machine(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

c10::intrusive_ptr<c10d::ProcessGroupGloo> connect_gloo(const Launch& launch, std::chrono::seconds patience,
                                                        const c10::intrusive_ptr<c10d::Store>& store) {
  auto options = c10d::ProcessGroupGloo::Options::create(patience);
  const std::optional<std::string> interface = process_environment("GLOO_SOCKET_IFNAME");
  // A machine's own name need not resolve; for ranks of one machine the loopback always does.
  options->devices.push_back(interface ? c10d::ProcessGroupGloo::createDeviceForInterface(*interface)
                             : is_this_machine(launch.master_host)
                                 ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                                 : c10d::ProcessGroupGloo::createDefaultDevice());
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, launch.rank, launch.size, options);
}

// Writing to a rank that is gone must fail, so that it can be told, and not end this process.
void keep_broken_pipes_as_errors() {
  struct sigaction action {};
  if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL)
    std::signal(SIGPIPE, SIG_IGN);
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

struct ProcessGroup::Connection {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<Backend> group;
  c10::intrusive_ptr<Backend> gpus;  ///< after use_gpu()

  Backend& of(const at::Tensor& tensor) const { return tensor.is_cpu() || !gpus ? *group : *gpus; }
};

struct ProcessGroup::Pending {
  std::vector<at::Tensor> tensors;
  c10::intrusive_ptr<c10d::Work> work;
};

template <class Call>
void ProcessGroup::guarded(const char* doing, Call&& call) {
  try {
    call();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail<LostRank>("[processes] rank {} of {}, {}: another rank is gone or does not answer ({})", rank(),
                   size(), doing, first_line(error.what()));
  }
}

ProcessGroup::ProcessGroup(const Launch& launch, std::chrono::seconds patience)
    : launch_(launch), patience_(patience), connection_(std::make_unique<Connection>()) {
  keep_broken_pipes_as_errors();
  meet(launch, patience, [&](const c10::intrusive_ptr<c10d::Store>& store) {
    connection_->store = store;
    connection_->group = connect_gloo(launch, patience, store);
  });
}

ProcessGroup::~ProcessGroup() = default;

void ProcessGroup::use_gpu(at::Device device) {
  guarded("connecting GPUs", [&] {
    connection_->gpus = connect_gpus(connection_->store, launch_, device, patience_);
    const at::Tensor first = at::zeros({1}, at::TensorOptions(device).dtype(at::kFloat));
    sum(first);  // a communicator is made at its first use, and what is wrong with it shows then
    first.cpu();
  });
}

std::unique_ptr<ProcessGroup::Pending> ProcessGroup::start_sum(const at::Tensor& tensor) {
  auto pending = std::make_unique<Pending>();
  pending->tensors = {tensor};
  guarded("starting a sum", [&] { pending->work = connection_->of(tensor).allreduce(pending->tensors); });
  return pending;
}

void ProcessGroup::wait(Pending& pending) {
  guarded("waiting for a sum", [&] { pending.work->wait(); });
}

void ProcessGroup::sum(const at::Tensor& tensor) {
  wait(*start_sum(tensor));
}

void ProcessGroup::maximum(const at::Tensor& tensor) {
  std::vector<at::Tensor> tensors = {tensor};
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::MAX;
  guarded("taking a maximum", [&] { connection_->of(tensor).allreduce(tensors, options)->wait(); });
}

void ProcessGroup::broadcast(const at::Tensor& tensor, int root) {
  std::vector<at::Tensor> tensors = {tensor};
  c10d::BroadcastOptions options;
  options.rootRank = root;
  guarded("sharing a tensor", [&] { connection_->of(tensor).broadcast(tensors, options)->wait(); });
}

void ProcessGroup::barrier() {
  guarded("waiting for all", [&] { connection_->group->barrier()->wait(); });
}

std::vector<std::string> ProcessGroup::gather(const std::string& bytes) {
  const auto length = static_cast<int64_t>(bytes.size());
  at::Tensor lengths = at::zeros({size()}, at::kLong);
  lengths[rank()] = length;
  sum(lengths);
  const int64_t longest = std::max<int64_t>(lengths.max().item<int64_t>(), 1);
  // A rank's bytes in its row and zeros elsewhere, so that the sum is everybody's; one collective of few
  // kinds is less to go wrong.
  at::Tensor rows = at::zeros({size(), longest}, at::kByte);
  std::copy(bytes.begin(), bytes.end(), rows[rank()].data_ptr<uint8_t>());
  sum(rows);
  std::vector<std::string> result;
  for (int other = 0; other < size(); ++other) {
    const auto* first = reinterpret_cast<const char*>(rows[other].data_ptr<uint8_t>());
    result.emplace_back(first, first + lengths[other].item<int64_t>());
  }
  return result;
}

void ProcessGroup::require_equal(const std::string& what, const std::string& text) {
  const std::vector<std::string> texts = gather(text);
  for (int other = 1; other < size(); ++other)
    if (texts[static_cast<size_t>(other)] != texts[0])
      fail<UsageError>("[processes] rank {} has other {} than rank 0: \"{}\" and \"{}\"", other, what,
                       texts[static_cast<size_t>(other)], texts[0]);
}

struct GradientAverage::State {
  struct Bucket {
    std::vector<size_t> parameters;
    int64_t elements = 0;
    size_t missing = 0;
    at::Tensor flat;
    std::unique_ptr<ProcessGroup::Pending> pending;
  };

  State(ProcessGroup& group_, std::vector<at::Tensor> parameters_)
      : group(group_), parameters(std::move(parameters_)), bucket_of(parameters.size(), kNoBucket) {
    for (size_t i = parameters.size(); i-- > 0;) {
      // Between GPUs looking for them would take longer than sending the rest.
      if (parameters[i].is_cpu() && parameters[i].dim() == 2 && parameters[i].size(0) >= kEmbeddingRows) {
        embeddings.push_back(i);
        continue;
      }
      if (buckets.empty() || buckets.back().elements >= kBucketElements) buckets.emplace_back();
      buckets.back().parameters.push_back(i);
      buckets.back().elements += parameters[i].numel();
      bucket_of[i] = buckets.size() - 1;
    }
  }

  void arm() {
    for (Bucket& bucket : buckets) bucket.missing = bucket.parameters.size();
    next = 0;
    armed = true;
  }

  void gradient_is_there(size_t parameter) {
    const std::lock_guard lock(mutex);
    if (!armed || bucket_of[parameter] == kNoBucket) return;
    --buckets[bucket_of[parameter]].missing;
    // Ranks must send in the same order, so a bucket waits for those before it.
    for (; next < buckets.size() && buckets[next].missing == 0; ++next) send(buckets[next]);
  }

  void send(Bucket& bucket) {
    const at::NoGradGuard no_grad;
    if (!bucket.flat.defined())
      bucket.flat =
          at::empty({bucket.elements}, at::TensorOptions(parameters[bucket.parameters[0]].device()));
    int64_t at = 0;
    for (const size_t i : bucket.parameters) {
      at::Tensor slot = slot_of(bucket, at, i);
      if (const at::Tensor& gradient = parameters[i].grad(); gradient.defined())
        at::mul_out(slot, gradient, at::scalar_tensor(scale()));
      else
        slot.zero_();
      at += parameters[i].numel();
    }
    bucket.pending = group.start_sum(bucket.flat);
  }

  /// The mean of a gradient of which every rank's batch touched few rows.
  void average_embedding(at::Tensor& parameter) {
    const bool has_gradient = parameter.grad().defined();
    at::Tensor gradient = has_gradient ? parameter.grad().contiguous() : at::Tensor();
    at::Tensor touched = has_gradient ? touched_rows(gradient) : at::zeros({parameter.size(0)}, at::kByte);
    group.maximum(touched);
    const at::Tensor rows = touched.nonzero().flatten();
    at::Tensor values = has_gradient ? gradient.index_select(0, rows).mul_(scale())
                                     : at::zeros({rows.numel(), parameter.size(1)});
    group.sum(values);
    if (has_gradient) parameter.mutable_grad() = gradient.index_copy_(0, rows, values);
  }

  void finish() {
    const std::lock_guard lock(mutex);
    armed = false;
    for (; next < buckets.size(); ++next) send(buckets[next]);
    const at::NoGradGuard no_grad;
    for (Bucket& bucket : buckets) {
      group.wait(*bucket.pending);
      bucket.pending.reset();
      int64_t at = 0;
      for (const size_t i : bucket.parameters) {
        if (parameters[i].grad().defined()) parameters[i].mutable_grad() = slot_of(bucket, at, i);
        at += parameters[i].numel();
      }
    }
    for (const size_t i : embeddings) average_embedding(parameters[i]);
  }

  /// Where a parameter's gradient lies in its bucket.
  at::Tensor slot_of(const Bucket& bucket, int64_t at, size_t parameter) const {
    return bucket.flat.narrow(0, at, parameters[parameter].numel()).view(parameters[parameter].sizes());
  }
  /// Gradients are scaled before they are added, in the pass that copies them anyway.
  double scale() const { return 1.0 / group.size(); }

  static constexpr size_t kNoBucket = std::numeric_limits<size_t>::max();

  ProcessGroup& group;
  std::vector<at::Tensor> parameters;
  std::vector<size_t> bucket_of;
  std::vector<Bucket> buckets;
  std::vector<size_t> embeddings;  // averaged after the buckets, row by row
  // Hooks live as long as these.
  std::vector<decltype(torch::autograd::impl::grad_accumulator(at::Tensor()))> accumulators;
  std::mutex mutex;
  size_t next = 0;
  bool armed = false;
};

namespace {

class AfterGradient : public torch::autograd::FunctionPostHook {
 public:
  explicit AfterGradient(std::function<void()> call) : call_(std::move(call)) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    call_();
    return outputs;
  }

 private:
  std::function<void()> call_;
};

}  // namespace

GradientAverage::GradientAverage(ProcessGroup& group, std::vector<at::Tensor> parameters)
    : state_(std::make_shared<State>(group, std::move(parameters))) {
  for (size_t i = 0; i < state_->parameters.size(); ++i) {
    auto accumulator = torch::autograd::impl::grad_accumulator(state_->parameters[i]);
    // The hook may outlive this object: autograd keeps it with the parameter.
    accumulator->add_post_hook(std::make_unique<AfterGradient>([weak = std::weak_ptr<State>(state_), i] {
      if (const auto state = weak.lock()) state->gradient_is_there(i);
    }));
    state_->accumulators.push_back(std::move(accumulator));
  }
}

GradientAverage::~GradientAverage() = default;

void GradientAverage::arm() {
  state_->arm();
}

void GradientAverage::finish() {
  state_->finish();
}

}  // namespace qdqbert::train
