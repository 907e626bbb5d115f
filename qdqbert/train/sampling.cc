#include "qdqbert/train/sampling.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace qdqbert::train {

namespace {

int64_t draw(at::Generator& generator) {
  return at::empty({}, at::kLong).random_(generator).item<int64_t>();
}

std::vector<int64_t> permutation(int64_t samples, at::Generator& generator) {
  const at::Tensor order = at::randperm(samples, generator, at::kLong);
  const int64_t* first = order.data_ptr<int64_t>();
  return {first, first + samples};
}

}  // namespace

std::vector<int64_t> loader_order(int64_t samples, uint64_t seed, int64_t epoch) {
  at::Generator global = at::detail::createCPUGenerator(seed);
  for (int64_t e = 0; e < epoch; ++e) {
    draw(global);
    draw(global);
  }
  draw(global);  // the loader's base seed for worker processes
  at::Generator own = at::detail::createCPUGenerator(static_cast<uint64_t>(draw(global)));
  return permutation(samples, own);
}

std::vector<int64_t> length_grouped_order(std::span<const int64_t> lengths, int64_t batch_size, uint64_t seed,
                                          int64_t epoch) {
  const auto samples = static_cast<int64_t>(lengths.size());
  at::Generator global = at::detail::createCPUGenerator(seed);
  std::vector<int64_t> order;
  for (int64_t e = 0; e <= epoch; ++e) {
    draw(global);
    order = permutation(samples, global);
  }
  if (order.empty()) return order;
  const int64_t batches = std::max<int64_t>(1, std::min<int64_t>(samples / (batch_size * 4), 50));
  const int64_t part = batches * batch_size;
  const auto length = [&](int64_t sample) { return lengths[static_cast<size_t>(sample)]; };
  size_t longest = 0;
  for (int64_t begin = 0; begin < samples; begin += part) {
    const auto first = order.begin() + begin, last = order.begin() + std::min(begin + part, samples);
    std::stable_sort(first, last, [&](int64_t a, int64_t b) { return length(a) > length(b); });
    if (length(*first) > length(order[longest])) longest = static_cast<size_t>(begin);
  }
  std::swap(order[0], order[longest]);
  return order;
}

}  // namespace qdqbert::train
