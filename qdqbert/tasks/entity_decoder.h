// Tags of words to entities, whichever way the tags are written.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace qdqbert::tasks {

/// One entity of a tagged sentence: words [begin, end).
struct TaggedEntity {
  std::string type;
  size_t begin = 0, end = 0;
  double score = 0;  ///< mean of its words
};

/// Reads a set of tags once and then sentences of them.
///
/// "O" is no entity. A tag is a type (IO), or a position and a type: B, I, E, S of IOB1, IOB2 and BIOES, L
/// and U of BILOU, M of BMES, before or behind the type with '-' or '_' between ("B-PER", "PER_B"), or alone
/// where there is one type, which is then called "_" as seqeval does. Which of these forms is meant is decided
/// by the whole set: that of all tags; else that in which a type has B and another position; else B- and I-
/// alone are positions. A tag that does not have the form keeps its whole name as type.
class EntityDecoder {
 public:
  /// What a tag says about its word.
  struct Part {
    enum class Position : uint8_t { kOutside, kBegin, kInside, kEnd, kSingle };
    Position position = Position::kOutside;
    std::string type;
  };

  explicit EntityDecoder(const std::vector<std::string>& tags);

  /// `tags`: for every word its place among the tags of the constructor, kNoTag for a word without one;
  /// `scores`: as many. Spans are those of conlleval: a B or S always begins an entity, another position does
  /// so behind an entity's end, "O" or another type; S and E (U and L) end one. Without positions, neighbours
  /// of one type belong together.
  std::vector<TaggedEntity> decode(std::span<const size_t> tags, std::span<const double> scores) const;
  static constexpr size_t kNoTag = SIZE_MAX;

  const std::vector<Part>& parts() const { return parts_; }
  /// All tags are numbers: which of them are entities cannot be told, and none is found.
  bool unnamed() const { return unnamed_; }

 private:
  std::vector<Part> parts_;
  bool unnamed_ = false;
};

/// Those of `tags` that seqeval's default mode warns of, sorted, each once: other than "O" and positions B, I,
/// E, S with '-' behind. It takes their first letter for a position all the same.
std::vector<std::string> tags_without_position(const std::vector<std::vector<std::string>>& sentences);

}  // namespace qdqbert::tasks
