#include "qdqbert/tasks/paired_bootstrap.h"

#include <algorithm>
#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/tasks/squad_metrics.h"

namespace qdqbert::tasks {

namespace {

/// SplitMix64 of a counter, so draw number i is the same whatever was drawn before.
uint64_t random_bits(uint64_t seed, uint64_t counter) {
  uint64_t z = seed * 0xd1342543de82ef95u + (counter + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

double share_of_differing_answers(std::span<const std::string> a, std::span<const std::string> b) {
  if (a.size() != b.size()) fail("[bootstrap] {} answers on one side, {} on the other", a.size(), b.size());
  if (a.empty()) fail("[bootstrap] there are no answers to compare");
  size_t differing = 0;
  for (size_t i = 0; i < a.size(); ++i) differing += a[i] != b[i];
  return static_cast<double>(differing) / static_cast<double>(a.size());
}

F1Difference paired_bootstrap_f1(const std::vector<SquadExample>& examples, std::span<const std::string> a,
                                 std::span<const std::string> b, uint64_t seed, int resamples) {
  if (a.size() != examples.size() || b.size() != examples.size())
    fail("[bootstrap] {} examples, {} and {} answers", examples.size(), a.size(), b.size());
  if (examples.empty()) fail("[bootstrap] there are no answers to compare");
  if (resamples < 2) fail("[bootstrap] {} resamples give no error, at least 2 are needed", resamples);
  const size_t count = examples.size();
  const double to_percent = 100.0 / static_cast<double>(count);
  F1Difference out;
  std::vector<double> gain(count);
  for (size_t i = 0; i < count; ++i) {
    const double f1_a = score_v1(a[i], examples[i].answers).f1;
    const double f1_b = a[i] == b[i] ? f1_a : score_v1(b[i], examples[i].answers).f1;
    out.f1_a += f1_a * to_percent;
    out.f1_b += f1_b * to_percent;
    gain[i] = f1_b - f1_a;
  }
  out.difference = out.f1_b - out.f1_a;
  double sum = 0, squares = 0;
  for (int r = 0; r < resamples; ++r) {
    double resampled = 0;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t bits = random_bits(seed, static_cast<uint64_t>(r) * count + i);
      // The high half times the count: an index without division;
      // its bias of count / 2^32 is below the error sought.
      resampled += gain[((bits >> 32) * count) >> 32];
    }
    const double distance = resampled * to_percent - out.difference;
    sum += distance;
    squares += distance * distance;
  }
  const double mean = sum / resamples;
  out.standard_error = std::sqrt(std::max(0.0, (squares - mean * sum) / (resamples - 1)));
  return out;
}

}  // namespace qdqbert::tasks
