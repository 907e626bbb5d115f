#include "qdqbert/tasks/text_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

#include "tests/support/scratch_directory.h"

namespace qdqbert::tasks {
namespace {

using ::testing::ElementsAre;

TextRows rows_of(const std::string& name, const std::string& content, const std::string& column = "") {
  const ScratchDirectory directory;
  write_file(directory / name, content);
  return read_text_rows(directory / name, column);
}

TEST(TextRows, EveryRowKeepsItsPlaceAndId) {
  TextRows rows =
      rows_of("a.jsonl",
              "{\"id\":7,\"text\":\"a\"}\n{\"id\":8,\"text\":\"\"}\n{\"id\":\"nine\",\"text\":null}\n"
              "{\"id\":10,\"text\":\"b\"}\n");
  EXPECT_THAT(rows.texts, ElementsAre("a", "", "", "b"));
  EXPECT_THAT(rows.ids, ElementsAre(Json(7), Json(8), Json("nine"), Json(10)));
  rows.drop_empty();
  EXPECT_THAT(rows.texts, ElementsAre("a", "b"));
  EXPECT_THAT(rows.ids, ElementsAre(Json(7), Json(10)));
  rows.truncate(1);
  EXPECT_THAT(rows.texts, ElementsAre("a"));
  rows.truncate(5);
  EXPECT_EQ(rows.ids.size(), 1u);
}

TEST(TextRows, NumbersWhereThereAreNoIds) {
  EXPECT_THAT(rows_of("a.txt", "a\n\nb\n").texts, ElementsAre("a", "", "b"));
  EXPECT_THAT(rows_of("a.txt", "a\n\nb\n").ids, ElementsAre(Json(0), Json(1), Json(2)));
  EXPECT_THAT(rows_of("a.jsonl", "{\"id\":7,\"text\":\"a\"}\n{\"text\":\"b\"}\n").ids,
              ElementsAre(Json(0), Json(1)))
      << "a part of the rows has none";
  EXPECT_THAT(rows_of("a.csv", "id,question\n4,a\n5,b\n").texts, ElementsAre("a", "b")) << "an id is no text";
  EXPECT_THAT(rows_of("a.csv", "id,question\n4,a\n5,b\n").ids, ElementsAre(Json("4"), Json("5")));
  EXPECT_THAT(rows_of("a.csv", "id\na\n").texts, ElementsAre("a"));
  EXPECT_THROW(rows_of("a.txt", "\n \n"), InputError);
  EXPECT_THROW(rows_of("a.jsonl", "{\"text\":[1]}\n"), InputError);
}

}  // namespace
}  // namespace qdqbert::tasks
