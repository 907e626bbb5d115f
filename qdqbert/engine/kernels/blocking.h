// How a matrix multiplication is cut into tasks for the workers: arithmetic only.
#pragma once

#include <cstddef>

namespace qdqbert::engine {

/// Rows of the block that one worker finishes at a time. 96 is a multiple of every kernel's height (12, 6,
/// 32); with K = 3072 a block of A is 288 KB, which stays in the second-level cache beside the panels.
inline constexpr size_t kRowBlock = 96;
/// Panels that a block of rows meets one after the other: 8 of 32 columns are 192 KB of weights at K = 768.
inline constexpr size_t kPanelBlock = 8;

/// Weights that stay in a second-level cache of 2 MB while rows stream past, where the kernel itself walks
/// over both.
inline constexpr size_t kPanelBlockBytes = 640 << 10;

struct Interval {
  size_t begin, end;
  size_t size() const { return end - begin; }
};

/// Part `index` of [0, count) cut into `parts` parts that differ by one `unit` at most; the last may be cut
/// short.
Interval part_of(size_t count, size_t unit, size_t parts, size_t index);

/// `row_tasks` x `column_tasks` tasks; rows are cut at multiples of `row_unit`.
struct Blocking {
  size_t row_tasks, column_tasks, row_unit;
  size_t tasks() const { return row_tasks * column_tasks; }
};

/// `height` is that of the kernel's register tile and `least_height` the lowest that is worth its time.
/// Columns are independent: a few tasks a worker so that all stay busy to the end, as few cuts along the rows
/// as possible because each reads the weights again, and a number that the workers divide evenly.
Blocking cut_both(size_t rows, size_t panels, int threads, size_t height, size_t least_height);

/// For a kernel that walks over rows and panels itself: blocks of panels as large as the second-level cache
/// allows, each met by all rows, or by parts of the rows where the workers are many.
Blocking cut_panels(size_t rows, size_t panels, size_t panel_bytes, int threads, size_t height);

/// Whole rows are needed (LayerNorm follows): at most kRowBlock rows a task, a number that the workers divide
/// evenly.
Blocking cut_rows(size_t rows, int threads, size_t height, size_t least_height);

}  // namespace qdqbert::engine
