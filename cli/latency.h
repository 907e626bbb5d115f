// Figures of repeated runs.
#pragma once

#include <vector>

#include "qdqbert/base/json.h"

namespace qdqbert::cli {

struct Latency {
  double min = 0, mean = 0, median = 0, p90 = 0, p95 = 0, p99 = 0;
};

/// Of at least one value, in its unit; percentiles between two values are interpolated.
Latency latency_of(std::vector<double> values);

/// {min, mean, median, p90, p95, p99}
Json to_json(const Latency& latency);

}  // namespace qdqbert::cli
