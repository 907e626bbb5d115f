#include "qdqbert/quant/bin_counter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "qdqbert/base/parallel.h"

namespace qdqbert::quant {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kElementsPerThread = size_t{1} << 17;
// The kernels count in 32 bits.
constexpr size_t kLargestPart = size_t{1} << 30;
// Beyond this share of a bin the estimate saves nothing.
constexpr float kLargestMargin = 0.25f;

float at_least(double value) {
  const float rounded = static_cast<float>(value);
  return rounded < value ? std::nextafter(rounded, kInfinity) : rounded;
}

float at_most(double value) {
  const float rounded = static_cast<float>(value);
  return rounded > value ? std::nextafter(rounded, -kInfinity) : rounded;
}

}  // namespace

BinCounter::BinCounter(const std::vector<double>& edges) : last_(at_most(edges.back())), margin_(1) {
  thresholds_.reserve(edges.size());
  for (const double edge : edges) thresholds_.push_back(at_least(edge));
  inverse_width_ = static_cast<float>(static_cast<double>(bins()) / (edges.back() - edges.front()));
  if (!std::isfinite(inverse_width_) || bins() > size_t{1} << 22) return;

  // The estimate is a non-decreasing function, so its error at both sides of
  // every threshold bounds it everywhere.
  const float origin = thresholds_.front();
  float error = 0;
  for (size_t k = 0; k <= bins(); ++k) {
    const float wanted = static_cast<float>(k);
    error = std::max(error, std::fabs((thresholds_[k] - origin) * inverse_width_ - wanted));
    const float below = std::nextafter(thresholds_[k], -kInfinity);
    if (k > 0) error = std::max(error, std::fabs((below - origin) * inverse_width_ - wanted));
  }
  if (error <= kLargestMargin / 2) margin_ = 2 * error + 1e-6f;
}

void BinCounter::count_one(float value, std::span<int64_t> counts) const {
  if (!(value >= thresholds_.front()) || value > last_) return;
  const auto above = std::upper_bound(thresholds_.begin(), thresholds_.end(), value);
  const size_t bin = static_cast<size_t>(above - thresholds_.begin()) - 1;
  ++counts[std::min(bin, bins() - 1)];
}

void BinCounter::count_signed(std::span<const float> x, bool skip_zeros, std::span<int64_t> counts) const {
  for (const float value : x)
    if (!skip_zeros || value != 0) count_one(value, counts);
}

void BinCounter::count(std::span<const float> x, bool skip_zeros, std::span<int64_t> counts) const {
  if (margin_ > kLargestMargin) {
    for (const float value : x)
      if (!skip_zeros || value != 0) count_one(std::fabs(value), counts);
    return;
  }
  const BinRule rule{
      thresholds_.data(), static_cast<int32_t>(bins()), last_, thresholds_.front(), inverse_width_, margin_,
      skip_zeros};
  const size_t workers =
      std::clamp<size_t>(x.size() / kElementsPerThread, 1, static_cast<size_t>(default_threads()));
  const size_t grain = std::min((x.size() + workers - 1) / workers, kLargestPart);
  const Kernels& table = kernels();
  std::mutex mutex;
  parallel_for(x.size(), grain, static_cast<int>(workers), [&](size_t begin, size_t end) {
    std::vector<uint32_t> part(kCountTables * bins());
    table.count(x.data() + begin, end - begin, &rule, part.data());
    const std::lock_guard lock(mutex);
    for (size_t t = 0; t < kCountTables; ++t)
      for (size_t k = 0; k < bins(); ++k) counts[k] += part[t * bins() + k];
  });
}

}  // namespace qdqbert::quant
