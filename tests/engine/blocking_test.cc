#include "qdqbert/engine/kernels/blocking.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace qdqbert::engine {
namespace {

constexpr size_t kRows[] = {1, 2, 5, 11, 12, 64, 96, 97, 128, 129, 384, 1000, 1024, 3072, 20000};
constexpr int kThreads[] = {1, 2, 3, 5, 16, 64};
struct Height {
  size_t full, least;
};
constexpr Height kHeights[] = {{32, 16}, {12, 4}, {6, 2}, {1, 1}};

/// Largest minus smallest part, in rows.
size_t check_cover(size_t count, size_t unit, size_t parts) {
  size_t at = 0, largest = 0, smallest = count;
  for (size_t i = 0; i < parts; ++i) {
    const Interval part = part_of(count, unit, parts, i);
    EXPECT_EQ(part.begin, at);
    EXPECT_TRUE(part.begin % unit == 0 || part.begin == count);
    at = part.end;
    largest = std::max(largest, part.size());
    smallest = std::min(smallest, part.size());
  }
  EXPECT_EQ(at, count);
  return largest - smallest;
}

TEST(BlockingTest, RowsAreCutCompletelyEvenlyAndNoTallerThanTheBlock) {
  for (const size_t rows : kRows)
    for (const int threads : kThreads)
      for (const Height h : kHeights) {
        SCOPED_TRACE(testing::Message() << rows << " rows, " << threads << " threads, height " << h.full);
        const Blocking cut = cut_rows(rows, threads, h.full, h.least);
        EXPECT_EQ(cut.column_tasks, 1u);
        EXPECT_LE(check_cover(rows, cut.row_unit, cut.row_tasks), 2 * cut.row_unit);
        for (size_t i = 0; i < cut.row_tasks; ++i)
          EXPECT_LE(part_of(rows, cut.row_unit, cut.row_tasks, i).size(), kRowBlock);
        if (rows >= h.least * static_cast<size_t>(threads)) {
          EXPECT_GE(cut.row_tasks, static_cast<size_t>(threads)) << "an idle worker";
        }
      }
}

TEST(BlockingTest, RowsAndPanelsAreCutCompletelyAndNoWorkerIsIdle) {
  for (const size_t rows : kRows)
    for (const size_t panels :
         {size_t{1}, size_t{3}, size_t{12}, size_t{24}, size_t{72}, size_t{96}, size_t{128}})
      for (const int threads : kThreads)
        for (const Height h : kHeights) {
          SCOPED_TRACE(testing::Message()
                       << rows << " rows, " << panels << " panels, " << threads << " threads");
          const Blocking cut = cut_both(rows, panels, threads, h.full, h.least);
          check_cover(rows, cut.row_unit, cut.row_tasks);
          EXPECT_LE(check_cover(panels, 1, cut.column_tasks), 1u);
          EXPECT_LE(cut.column_tasks, panels);
          for (size_t i = 0; i < cut.column_tasks; ++i)
            EXPECT_LE(part_of(panels, 1, cut.column_tasks, i).size(), kPanelBlock);
          if (panels >= static_cast<size_t>(threads)) {
            EXPECT_GE(cut.tasks(), static_cast<size_t>(threads));
          }
        }
}

TEST(BlockingTest, TwoThreadsGetEqualSharesOfOneText) {
  // BERT-base, 128 tokens: 72 panels of query, key and value, then rows for the output projection.
  const Blocking columns = cut_both(128, 72, 2, 12, 4);
  EXPECT_EQ(columns.row_tasks, 1u);
  EXPECT_EQ(columns.column_tasks % 2, 0u);
  const Blocking rows = cut_rows(128, 2, 12, 4);
  EXPECT_EQ(rows.row_tasks, 2u);
  EXPECT_EQ(part_of(128, rows.row_unit, 2, 0).size(), 64u);
}

}  // namespace
}  // namespace qdqbert::engine
