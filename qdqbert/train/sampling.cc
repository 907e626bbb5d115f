#include "qdqbert/train/sampling.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace qdqbert::train {

std::vector<int64_t> loader_order(int64_t samples, uint64_t seed) {
  at::Generator global = at::detail::createCPUGenerator(seed);
  const auto draw = [&] { return at::empty({}, at::kLong).random_(global).item<int64_t>(); };
  draw();  // the loader's base seed for worker processes
  at::Generator own = at::detail::createCPUGenerator(static_cast<uint64_t>(draw()));
  const at::Tensor order = at::randperm(samples, own, at::kLong);
  const int64_t* first = order.data_ptr<int64_t>();
  return {first, first + samples};
}

}  // namespace qdqbert::train
