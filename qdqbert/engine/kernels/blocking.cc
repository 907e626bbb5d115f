#include "qdqbert/engine/kernels/blocking.h"

#include <algorithm>

namespace qdqbert::engine {

namespace {

/// With so many tasks a worker, one more or less no longer matters.
constexpr size_t kManyTasks = 8;

size_t divide_up(size_t a, size_t b) {
  return (a + b - 1) / b;
}

/// Cutting at multiples of the full height wastes no tile, but is too coarse where a task has few tiles.
size_t row_unit(size_t rows, size_t row_tasks, size_t height, size_t least_height) {
  return rows / row_tasks >= 8 * height ? height : least_height;
}

}  // namespace

Interval part_of(size_t count, size_t unit, size_t parts, size_t index) {
  const size_t units = divide_up(count, unit);
  return {std::min(count, units * index / parts * unit), std::min(count, units * (index + 1) / parts * unit)};
}

Blocking cut_both(size_t rows, size_t panels, int threads, size_t height, size_t least_height) {
  const auto workers = static_cast<size_t>(threads);
  size_t column_tasks = divide_up(panels, kPanelBlock);
  const size_t row_tasks = std::clamp<size_t>(divide_up(4 * workers, column_tasks), 1,
                                              std::max<size_t>(1, divide_up(rows, kRowBlock)));
  if (row_tasks * column_tasks < kManyTasks * workers) {
    size_t even = column_tasks;
    while (even < panels && row_tasks * even % workers != 0) ++even;
    if (row_tasks * even % workers == 0) column_tasks = even;
  }
  return {row_tasks, column_tasks, row_unit(rows, row_tasks, height, least_height)};
}

Blocking cut_panels(size_t rows, size_t panels, size_t panel_bytes, int threads, size_t height) {
  const auto workers = static_cast<size_t>(threads);
  size_t column_tasks = std::min(panels, divide_up(panels * panel_bytes, kPanelBlockBytes));
  const size_t row_tasks =
      std::clamp<size_t>(divide_up(4 * workers, column_tasks), 1, std::max<size_t>(1, rows / (4 * height)));
  if (row_tasks * column_tasks < kManyTasks * workers) {
    size_t even = column_tasks;
    while (even < panels && row_tasks * even % workers != 0) ++even;
    if (row_tasks * even % workers == 0) column_tasks = even;
  }
  return {row_tasks, column_tasks, height};
}

Blocking cut_rows(size_t rows, int threads, size_t height, size_t least_height) {
  const auto workers = static_cast<size_t>(threads);
  size_t tasks = std::max<size_t>(1, divide_up(rows, kRowBlock));
  if (tasks < kManyTasks * workers) tasks = divide_up(tasks, workers) * workers;
  tasks = std::clamp<size_t>(tasks, 1, std::max<size_t>(1, divide_up(rows, least_height)));
  size_t unit = row_unit(rows, tasks, height, least_height);
  // Rounding to units must not push a part past the block that scratch is sized for.
  while (divide_up(divide_up(rows, unit), tasks) * unit > kRowBlock) {
    if (unit > least_height) {
      unit = least_height;
    } else {
      ++tasks;
    }
  }
  return {tasks, 1, unit};
}

}  // namespace qdqbert::engine
