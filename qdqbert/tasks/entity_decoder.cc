#include "qdqbert/tasks/entity_decoder.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>

#include "qdqbert/base/error.h"
#include "qdqbert/tasks/label_map.h"

namespace qdqbert::tasks {

namespace {

using Position = EntityDecoder::Part::Position;

constexpr std::string_view kLetters = "BIESLUM";

struct Form {
  bool suffix;
  char separator;
};

constexpr std::array kForms = {Form{false, '-'}, Form{true, '-'}, Form{false, '_'}, Form{true, '_'}};

/// A tag taken apart by one form.
struct Split {
  char letter = 0;  ///< 0: the tag does not have the form
  std::string_view type;
};

Split split(std::string_view tag, Form form) {
  if (tag.size() == 1 && kLetters.find(tag[0]) != std::string_view::npos) return {tag[0], "_"};
  if (tag.size() < 3) return {};
  const char letter = form.suffix ? tag.back() : tag.front();
  const char separator = form.suffix ? tag[tag.size() - 2] : tag[1];
  if (separator != form.separator || kLetters.find(letter) == std::string_view::npos) return {};
  return {letter, form.suffix ? tag.substr(0, tag.size() - 2) : tag.substr(2)};
}

Position position_of(char letter) {
  switch (letter) {
    case 'B':
      return Position::kBegin;
    case 'E':
    case 'L':
      return Position::kEnd;
    case 'S':
    case 'U':
      return Position::kSingle;
    default:
      return Position::kInside;
  }
}

/// Which positions a set of tags has in which form.
class Reading {
 public:
  explicit Reading(const std::vector<std::string>& tags) {
    for (const Form form : kForms) {
      std::set<char> letters;
      const bool all = std::all_of(tags.begin(), tags.end(), [&](const std::string& tag) {
        if (tag == "O") return true;
        const Split parts = split(tag, form);
        letters.insert(parts.letter);
        return parts.letter != 0;
      });
      // Without one of these no entity can begin: E-MAIL is a name.
      const bool opens = std::any_of(letters.begin(), letters.end(), [](char letter) {
        return std::string_view("BISU").find(letter) != std::string_view::npos;
      });
      if (all && opens) {
        form_ = form;
        letters_ = kLetters;
        return;
      }
    }
    for (const Form form : kForms)
      if (std::string proved = paired_letters(tags, form); !proved.empty()) {
        form_ = form;
        letters_ = std::move(proved);
        return;
      }
  }

  EntityDecoder::Part part(const std::string& tag) const {
    if (tag == "O") return {};
    const Split parts = split(tag, form_);
    if (parts.letter == 0 || letters_.find(parts.letter) == std::string::npos)
      return {Position::kInside, tag};
    return {position_of(parts.letter), std::string(parts.type)};
  }

 private:
  /// Positions of the types that have B and another one.
  static std::string paired_letters(const std::vector<std::string>& tags, Form form) {
    std::map<std::string_view, std::set<char>> by_type;
    for (const std::string& tag : tags)
      if (const Split parts = split(tag, form); tag.size() > 1 && parts.letter != 0)
        by_type[parts.type].insert(parts.letter);
    std::set<char> letters;
    for (const auto& [type, found] : by_type)
      if (found.contains('B') && found.size() > 1) letters.insert(found.begin(), found.end());
    if (letters.empty()) return "";
    letters.insert('I');
    if (letters.contains('E')) letters.insert('S');
    if (letters.contains('L')) letters.insert('U');
    return {letters.begin(), letters.end()};
  }

  Form form_ = kForms[0];
  std::string letters_ = "BI";
};

}  // namespace

EntityDecoder::EntityDecoder(const std::vector<std::string>& tags)
    : unnamed_(!tags.empty() && std::all_of(tags.begin(), tags.end(), is_number)) {
  const Reading reading(tags);
  for (const std::string& tag : tags) parts_.push_back(unnamed_ ? Part{} : reading.part(tag));
}

std::vector<TaggedEntity> EntityDecoder::decode(std::span<const size_t> tags,
                                                std::span<const double> scores) const {
  if (scores.size() != tags.size()) fail("[tag] {} tags, {} scores", tags.size(), scores.size());
  static const Part outside;
  std::vector<TaggedEntity> entities;
  bool open = false;
  const auto close = [&] {
    if (!open) return;
    TaggedEntity& entity = entities.back();
    entity.score /= static_cast<double>(entity.end - entity.begin);
    open = false;
  };
  for (size_t w = 0; w < tags.size(); ++w) {
    const Part& part = tags[w] == kNoTag ? outside : parts_.at(tags[w]);
    const bool goes_on = open && part.position != Position::kBegin && part.position != Position::kSingle &&
                         part.position != Position::kOutside && part.type == entities.back().type;
    if (!goes_on) close();
    if (part.position == Position::kOutside) continue;
    if (!goes_on) entities.push_back({part.type, w, w, 0});
    open = true;
    entities.back().end = w + 1;
    entities.back().score += scores[w];
    if (part.position == Position::kEnd || part.position == Position::kSingle) close();
  }
  close();
  return entities;
}

std::vector<std::string> tags_without_position(const std::vector<std::vector<std::string>>& sentences) {
  std::set<std::string> found;
  for (const std::vector<std::string>& sentence : sentences)
    for (const std::string& tag : sentence) {
      const bool alone = tag.size() == 1 && std::string_view("OBIES").find(tag[0]) != std::string_view::npos;
      const bool positioned =
          tag.size() > 1 && tag[1] == '-' && std::string_view("BIES").find(tag[0]) != std::string_view::npos;
      if (!alone && !positioned) found.insert(tag);
    }
  return {found.begin(), found.end()};
}

}  // namespace qdqbert::tasks
