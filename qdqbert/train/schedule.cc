#include "qdqbert/train/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "qdqbert/base/error.h"

namespace qdqbert::train {

namespace {

constexpr std::array<std::string_view, 7> kNames = {"linear",      "cosine",   "cosine_with_restarts",
                                                    "polynomial",  "constant", "constant_with_warmup",
                                                    "inverse_sqrt"};

constexpr double kPolynomialEnd = 1e-7;
constexpr double kInverseSqrtTimescale = 10000;

double quotient(int64_t numerator, int64_t denominator) {
  return static_cast<double>(numerator) / static_cast<double>(std::max<int64_t>(1, denominator));
}

}  // namespace

std::vector<std::string> schedule_names() {
  return {kNames.begin(), kNames.end()};
}

std::string_view name_of(ScheduleType type) {
  return kNames[static_cast<size_t>(type)];
}

ScheduleType parse_schedule(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end())
    fail<UsageError>("[lr_scheduler_type] {} is not known; there are {}", name, fmt::join(kNames, ", "));
  return static_cast<ScheduleType>(found - kNames.begin());
}

double Schedule::at(int64_t step) const {
  if (type == ScheduleType::kConstant) return base_learning_rate;
  if (step < warmup_steps) return base_learning_rate * quotient(step, warmup_steps);
  const int64_t behind_warmup = step - warmup_steps, length = total_steps - warmup_steps;
  const double progress = quotient(behind_warmup, length);
  double factor = 1;
  switch (type) {
    case ScheduleType::kLinear:
      factor = std::max(0.0, quotient(total_steps - step, length));
      break;
    case ScheduleType::kCosine:
      factor = std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
      break;
    case ScheduleType::kCosineWithRestarts:
      factor = progress >= 1.0
                   ? 0.0
                   : std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * std::fmod(progress, 1.0))));
      break;
    case ScheduleType::kPolynomial: {
      double rate = kPolynomialEnd;
      if (step <= total_steps) {
        if (length <= 0)
          fail<UsageError>("[lr_scheduler_type] polynomial: a warm-up of {} steps leaves none of {}",
                           warmup_steps, total_steps);
        const double left = 1 - static_cast<double>(behind_warmup) / static_cast<double>(length);
        rate = (base_learning_rate - kPolynomialEnd) * left + kPolynomialEnd;
      }
      factor = rate / base_learning_rate;
      break;
    }
    case ScheduleType::kInverseSqrt: {
      const double timescale = warmup_steps > 0 ? static_cast<double>(warmup_steps) : kInverseSqrtTimescale;
      const double shift = timescale - static_cast<double>(warmup_steps);
      factor = 1.0 / std::sqrt((static_cast<double>(step) + shift) / timescale);
      break;
    }
    case ScheduleType::kConstant:
    case ScheduleType::kConstantWithWarmup:
      break;
  }
  return base_learning_rate * factor;
}

}  // namespace qdqbert::train
