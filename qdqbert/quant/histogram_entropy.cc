// The Kullback-Leibler method. For every prefix of bins the divergence follows from prefix sums in O(levels);
// the few prefixes whose divergence could be the smallest are then computed again term by term, with the
// reference's order of additions, so that ties fall as they do there.
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/histogram.h"

namespace qdqbert::quant {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Both ways of computing a divergence are good to about bins * 2^-53 * ln(total) < 1e-10 for 2^14 bins.
constexpr double kUncertainty = 1e-9;

/// Sum with the order of numpy's pairwise summation: blocks of 128 in eight running sums.
double pairwise_sum(std::span<const double> values) {
  const size_t n = values.size();
  if (n < 8) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum;
  }
  if (n <= 128) {
    double r[8];
    std::copy_n(values.begin(), 8, r);
    size_t i = 8;
    for (; i + 8 <= n; i += 8)
      for (size_t k = 0; k < 8; ++k) r[k] += values[i + k];
    double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; i < n; ++i) sum += values[i];
    return sum;
  }
  const size_t half = n / 2 / 8 * 8;
  return pairwise_sum(values.first(half)) + pairwise_sum(values.subspan(half));
}

class Divergence {
 public:
  Divergence(std::span<const int64_t> counts, uint64_t levels)
      : counts_(counts),
        levels_(levels),
        sums_(counts.size() + 1),
        filled_(counts.size() + 1),
        entropies_(counts.size() + 1) {
    for (size_t j = 0; j < counts.size(); ++j) {
      const double count = static_cast<double>(counts[j]);
      sums_[j + 1] = sums_[j] + counts[j];
      filled_[j + 1] = filled_[j] + (counts[j] != 0);
      entropies_[j + 1] = entropies_[j] + (counts[j] != 0 ? count * std::log(count) : 0);
    }
  }

  /// Divergence of the first `prefix` bins, from prefix sums.
  double estimate(size_t prefix) const {
    const int64_t total = sums_.back(), tail = total - sums_[prefix];
    if (special(prefix)) return special_value(prefix);
    double quantized = 0, cross = 0;
    size_t begin = 0;
    const size_t groups = std::min<uint64_t>(levels_, prefix);
    for (size_t g = 0; g < groups; ++g) {
      const size_t end = group_end(begin, prefix);
      const int64_t filled = filled_[end] - filled_[begin];
      if (filled != 0) {
        const double sum = static_cast<double>(sums_[end] - sums_[begin]);
        const double mean = sum / static_cast<double>(filled);
        quantized += sum;
        const bool holds_tail = end == prefix;
        cross += (sum + (holds_tail ? static_cast<double>(tail) : 0)) * std::log(mean);
      }
      begin = end;
    }
    const double last = static_cast<double>(counts_[prefix - 1]),
                 with_tail = last + static_cast<double>(tail);
    double own = entropies_[prefix];
    if (tail != 0) own += with_tail * std::log(with_tail) - last * std::log(last);
    const double t = static_cast<double>(total);
    return (own - cross) / t - std::log(t) + std::log(quantized);
  }

  /// The same, term by term.
  double exact(size_t prefix) const {
    if (special(prefix)) return special_value(prefix);
    std::vector<double> q(prefix), terms(prefix);
    for (size_t begin = 0; begin < prefix;) {
      const size_t end = group_end(begin, prefix);
      const int64_t filled = filled_[end] - filled_[begin];
      const double mean = static_cast<double>(sums_[end] - sums_[begin]) / static_cast<double>(filled);
      for (size_t j = begin; j < end; ++j) q[j] = counts_[j] != 0 ? mean : 0;
      begin = end;
    }
    const double total = static_cast<double>(sums_.back()), q_total = pairwise_sum(q);
    for (size_t j = 0; j < prefix; ++j) {
      const int64_t tail = j + 1 == prefix ? sums_.back() - sums_[prefix] : 0;
      const double p = static_cast<double>(counts_[j] + tail) / total;
      if (p > 0) terms[j] = p * std::log(p / (q[j] / q_total));
    }
    return pairwise_sum(terms);
  }

 private:
  /// End of the group that starts at bin `begin`: bin j belongs to group floor(j * levels / prefix).
  size_t group_end(size_t begin, size_t prefix) const {
    const uint64_t group = begin * levels_ / prefix;
    return std::min<size_t>(prefix, ((group + 1) * prefix + levels_ - 1) / levels_);
  }

  // With nothing kept the quantized distribution is 0 / 0; with an empty last bin that receives the tail it
  // is 0 where the other is not.
  bool special(size_t prefix) const {
    return sums_[prefix] == 0 || (counts_[prefix - 1] == 0 && sums_[prefix] != sums_.back());
  }
  double special_value(size_t prefix) const { return sums_[prefix] == 0 ? kNan : kInfinity; }

  std::span<const int64_t> counts_;
  uint64_t levels_;
  std::vector<int64_t> sums_, filled_;
  std::vector<double> entropies_;
};

}  // namespace

float entropy_amax(Histogram& histogram, int num_bits, bool is_unsigned, int stride, int start_bin) {
  const int exponent = num_bits - 1 + (is_unsigned ? 1 : 0);
  if (exponent < 0 || exponent > 30) fail("[calibrator] entropy needs 1 to 31 bits, got {}", num_bits);
  if (stride < 1) fail("[calibrator] stride must be positive, got {}", stride);
  if (start_bin < 1) fail("[calibrator] start_bin must be positive, got {}", start_bin);
  const size_t bins = histogram.counts.size();
  if (static_cast<size_t>(start_bin) > bins || bins < 2)
    fail("[calibrator] entropy starts at bin {}, the histogram has {} bins", start_bin, bins);

  histogram.counts[0] = histogram.counts[1];
  const Divergence divergence(histogram.counts, uint64_t{1} << exponent);
  std::vector<size_t> prefixes;
  std::vector<double> estimates;
  double least = kInfinity;
  for (size_t prefix = static_cast<size_t>(start_bin); prefix <= bins;
       prefix += static_cast<size_t>(stride)) {
    prefixes.push_back(prefix);
    estimates.push_back(divergence.estimate(prefix));
    least = std::min(least, estimates.back());
  }
  // Searching from the largest prefix down, numpy's argmin takes the first NaN,
  // else the first smallest value.
  size_t best = prefixes.back();
  double smallest = kInfinity;
  for (size_t i = prefixes.size(); i-- > 0;) {
    if (estimates[i] != estimates[i]) return static_cast<float>(histogram.edges.at(prefixes[i]));
    if (!(estimates[i] <= least + kUncertainty) || std::isinf(estimates[i])) continue;
    const double value = divergence.exact(prefixes[i]);
    if (value < smallest) {
      smallest = value;
      best = prefixes[i];
    }
  }
  return static_cast<float>(histogram.edges.at(best));
}

}  // namespace qdqbert::quant
