#include "cli/latency.h"

#include <algorithm>
#include <numeric>

namespace qdqbert::cli {

Latency latency_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto percentile = [&](double p) {
    const double at = p / 100 * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(at);
    const size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
  };
  Latency latency;
  latency.min = values.front();
  latency.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  latency.median = percentile(50);
  latency.p90 = percentile(90);
  latency.p95 = percentile(95);
  latency.p99 = percentile(99);
  return latency;
}

Json to_json(const Latency& latency) {
  return {{"min", latency.min}, {"mean", latency.mean}, {"median", latency.median},
          {"p90", latency.p90}, {"p95", latency.p95},   {"p99", latency.p99}};
}

}  // namespace qdqbert::cli
