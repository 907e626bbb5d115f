// rooms: tasks text base
// Arbitrary bytes as the files of classification, tagging, multiple choice and language modelling (the first
// byte chooses) are refused or become examples whose features stay inside their texts.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "qdqbert/base/error.h"
#include "qdqbert/tasks/choice_features.h"
#include "qdqbert/tasks/classify_dataset.h"
#include "qdqbert/tasks/lm_dataset.h"
#include "qdqbert/tasks/tag_features.h"

namespace {

using namespace qdqbert;

const text::Tokenizer& tokenizer() {
  static const text::Tokenizer instance = [] {
    std::vector<std::string> pieces = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "##s", "."};
    for (char c = 'a'; c <= 'z'; ++c) {
      pieces.emplace_back(1, c);
      pieces.push_back(std::string("##") + c);
    }
    return text::Tokenizer(text::Vocabulary(std::move(pieces), "fuzz"), {});
  }();
  return instance;
}

void require(bool holds) {
  if (!holds) std::abort();
}

constexpr int kLength = 16;

void classify(const tasks::RecordFile& file) {
  tasks::ClassifyColumns columns;
  columns.labels_required = false;
  const tasks::ClassifyData data = tasks::parse_classify(file, columns);
  const tasks::TokenRows rows =
      tasks::encode_rows(tokenizer(), data.first_texts(), data.second_texts(), kLength, 1);
  require(rows.size() == data.examples.size() && rows.longest() <= kLength);
}

void tag(const tasks::TagData& data) {
  const tasks::LabelMap labels(data.labelled ? data.tags() : std::vector<std::string>{"O"});
  const tasks::TagFeatures features = tasks::TagFeatures::build(data, labels, tokenizer(), {kLength, true});
  for (size_t row = 0; row < features.rows.size(); ++row)
    for (const int32_t word : features.word_ids[row])
      require(word >= -1 && word < static_cast<int32_t>(data.examples[row].words.size()));
}

void choose(const tasks::ChoiceData& data) {
  for (const tasks::ChoiceExample& example : data.examples)
    require(!example.answer ||
            (*example.answer >= 0 && static_cast<size_t>(*example.answer) < example.choices.size()));
  require(tasks::ChoiceFeatures::build(data, tokenizer(), kLength).rows.size() == data.choice_count());
}

void model_language(std::string_view text) {
  std::vector<std::string> lines;
  for (const tasks::TextLine& line : tasks::split_lines(text, "fuzz")) lines.emplace_back(line.text);
  const tasks::LmBlocks blocks = tasks::LmBlocks::build(lines, tokenizer(), {kLength});
  for (size_t row = 0; row < blocks.rows.size(); ++row)
    require(tasks::mask_row(blocks, row, 1, tokenizer(), {}).ids.size() == blocks.rows.length(row));
  tasks::make_sentence_pairs(lines, 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr tasks::RecordFormat kFormats[] = {tasks::RecordFormat::kCsv, tasks::RecordFormat::kTsv,
                                              tasks::RecordFormat::kJsonLines, tasks::RecordFormat::kJson};
  const auto records = [&] { return tasks::parse_records(text, kFormats[data[0] / 8 % 4], "fuzz"); };
  tasks::TagColumns tags;
  tags.labels_required = false;
  try {
    switch (data[0] % 6) {
      case 0:
        classify(records());
        break;
      case 1:
        tag(tasks::parse_conll(text, "fuzz", tags));
        break;
      case 2:
        tag(tasks::parse_tag_records(records(), tags));
        break;
      case 3:
        choose(tasks::parse_choices(records(), false));
        break;
      case 4:
        choose(tasks::parse_codah(text, "fuzz"));
        break;
      default:
        model_language(text);
    }
  } catch (const Error&) {
  }
  return 0;
}
