#include "qdqbert/train/process_group.h"

#include <mutex>

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "qdqbert/base/error.h"

namespace qdqbert::train {
namespace {

// Large enough that latency does not count, small enough that the first bucket leaves early in backward.
constexpr int64_t kBucketElements = int64_t{2} << 20;

bool is_this_machine(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

c10::intrusive_ptr<c10d::ProcessGroupGloo> connect(const Launch& launch, std::chrono::seconds patience) {
  c10d::TCPStoreOptions store_options;
  store_options.port = launch.master_port;
  store_options.isServer = launch.rank == 0 && !launch.launcher_keeps_store;
  store_options.numWorkers = static_cast<size_t>(launch.size);
  store_options.waitWorkers = !launch.launcher_keeps_store;
  store_options.timeout = patience;
  const auto store = c10::make_intrusive<c10d::PrefixStore>(
      "qdqbert", c10::make_intrusive<c10d::TCPStore>(launch.master_host, store_options));
  auto options = c10d::ProcessGroupGloo::Options::create(patience);
  const std::optional<std::string> interface = process_environment("GLOO_SOCKET_IFNAME");
  // A machine's own name need not resolve; for ranks of one machine the loopback always does.
  options->devices.push_back(interface ? c10d::ProcessGroupGloo::createDeviceForInterface(*interface)
                             : is_this_machine(launch.master_host)
                                 ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                                 : c10d::ProcessGroupGloo::createDefaultDevice());
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, launch.rank, launch.size, options);
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

struct ProcessGroup::Connection {
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group;
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
    : launch_(launch), connection_(std::make_unique<Connection>()) {
  try {
    connection_->group = connect(launch, patience);
  } catch (const std::exception& error) {
    fail<SystemError>(
        "[processes] rank {} of {} ({}) could not meet the others at {}:{} within {} s: {}; are all ranks "
        "started, "
        "and is the address reachable?",
        launch.rank, launch.size, launch.launcher, launch.master_host, launch.master_port, patience.count(),
        first_line(error.what()));
  }
}

ProcessGroup::~ProcessGroup() = default;

std::unique_ptr<ProcessGroup::Pending> ProcessGroup::start_sum(const at::Tensor& tensor) {
  auto pending = std::make_unique<Pending>();
  pending->tensors = {tensor};
  guarded("starting a sum", [&] { pending->work = connection_->group->allreduce(pending->tensors); });
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
  guarded("taking a maximum", [&] { connection_->group->allreduce(tensors, options)->wait(); });
}

void ProcessGroup::broadcast(const at::Tensor& tensor, int root) {
  std::vector<at::Tensor> tensors = {tensor};
  c10d::BroadcastOptions options;
  options.rootRank = root;
  guarded("sharing a tensor", [&] { connection_->group->broadcast(tensors, options)->wait(); });
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
      : group(group_), parameters(std::move(parameters_)), bucket_of(parameters.size()) {
    for (size_t i = parameters.size(); i-- > 0;) {
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
    if (!armed) return;
    --buckets[bucket_of[parameter]].missing;
    // Ranks must send in the same order, so a bucket waits for those before it.
    for (; next < buckets.size() && buckets[next].missing == 0; ++next) send(buckets[next]);
  }

  void send(Bucket& bucket) {
    const at::NoGradGuard no_grad;
    if (!bucket.flat.defined()) bucket.flat = at::empty({bucket.elements});
    int64_t at = 0;
    for (const size_t i : bucket.parameters) {
      const int64_t count = parameters[i].numel();
      const at::Tensor slot = bucket.flat.narrow(0, at, count);
      if (const at::Tensor& gradient = parameters[i].grad(); gradient.defined())
        slot.copy_(gradient.reshape({count}));
      else
        slot.zero_();
      at += count;
    }
    bucket.pending = group.start_sum(bucket.flat);
  }

  void finish() {
    const std::lock_guard lock(mutex);
    armed = false;
    for (; next < buckets.size(); ++next) send(buckets[next]);
    const at::NoGradGuard no_grad;
    for (Bucket& bucket : buckets) {
      group.wait(*bucket.pending);
      bucket.pending.reset();
      bucket.flat.div_(group.size());
      int64_t at = 0;
      for (const size_t i : bucket.parameters) {
        const int64_t count = parameters[i].numel();
        if (const at::Tensor& gradient = parameters[i].grad(); gradient.defined())
          gradient.copy_(bucket.flat.narrow(0, at, count).reshape(gradient.sizes()));
        at += count;
      }
    }
  }

  ProcessGroup& group;
  std::vector<at::Tensor> parameters;
  std::vector<size_t> bucket_of;
  std::vector<Bucket> buckets;
  std::vector<std::shared_ptr<torch::autograd::Node>> accumulators;  // hooks live as long as these
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
