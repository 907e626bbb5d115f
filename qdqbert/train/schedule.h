// Learning rate over the steps of a run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qdqbert::train {

enum class ScheduleType {
  kLinear,
  kCosine,
  kCosineWithRestarts,
  kPolynomial,
  kConstant,
  kConstantWithWarmup,
  kInverseSqrt,
};

/// Their names as --lr_scheduler_type takes them, in the order of the enumeration.
std::vector<std::string> schedule_names();
std::string_view name_of(ScheduleType type);
/// Throws UsageError naming the schedules that exist.
ScheduleType parse_schedule(std::string_view name);

/// The schedules of the original's library, with its default arguments: half a cosine, one cycle
/// of restarts, a polynomial of degree 1 that ends at 1e-7, an inverse square root whose time scale
/// is the warm-up (10,000 steps without one).
struct Schedule {
  ScheduleType type = ScheduleType::kLinear;
  double base_learning_rate = 5e-5;
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;

  /// Learning rate of optimizer step `step` (the first one is 0). Throws UsageError for a polynomial whose
  /// warm-up leaves no step, where the original divides by zero.
  double at(int64_t step) const;
};

}  // namespace qdqbert::train
