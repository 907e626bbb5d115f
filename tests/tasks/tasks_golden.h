#pragma once

#include "qdqbert/base/error.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/tasks/squad_features.h"

#include "tests/support/golden.h"
#include "tests/text/golden_config.h"

namespace qdqbert::tasks {

/// A flat record of the golden files.
inline SquadExample golden_example(const Json& record, const std::string& id) {
  SquadExample example;
  example.id = record.value("id", id);
  example.title = std::make_shared<const std::string>("");
  example.context = std::make_shared<const std::string>(record.at("context").get<std::string>());
  example.question = record.value("question", "");
  if (record.contains("answers")) {
    const Json& answers = record["answers"];
    for (size_t a = 0; a < answers.at("text").size(); ++a)
      example.answers.push_back(
          {answers["text"][a].get<std::string>(), answers["answer_start"][a].get<int64_t>()});
  }
  return example;
}

struct GoldenRecords {
  std::vector<SquadExample> all;
  GoldenRecords() {
    for (const Json& record : testing::read_json_lines(testing::golden_dir() / "squad/records.jsonl.gz"))
      all.push_back(golden_example(record, ""));
  }
  static const std::vector<SquadExample>& get() {
    static const GoldenRecords records;
    return records.all;
  }
};

/// The records, options and tokenizer of one line of features.jsonl.
struct FeatureSet {
  std::vector<SquadExample> examples;
  FeatureOptions options;
  const text::Tokenizer* tokenizer;
  io::SafetensorsFile file;

  explicit FeatureSet(const Json& line)
      : file(
            io::SafetensorsFile::open(testing::golden_dir() / "squad" / line.at("file").get<std::string>())) {
    for (const int64_t r : to_int64(file.at("records")))
      examples.push_back(GoldenRecords::get().at(static_cast<size_t>(r)));
    options.max_length = line.at("effective_max_length");
    options.stride = line.at("doc_stride");
    options.pad_to_max_length = line.at("pad_to_max_length");
    const text::Side side = line.at("padding_side") == "left" ? text::Side::kLeft : text::Side::kRight;
    tokenizer = &text::golden_tokenizer(line.at("config"), text::Side::kRight, side);
  }
};

}  // namespace qdqbert::tasks
