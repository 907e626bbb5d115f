// A two-layer question-answering model in ONNX with random weights, the shipped tokenizer beside it, and a
// few real questions: everything that the verbs of the engine need, without LibTorch.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/onnx/writer.h"
#include "qdqbert/text/tokenizer.h"

#include "tests/onnx/random_bert.h"

namespace qdqbert::testing {

inline const std::filesystem::path kShippedTokenizer = QDQBERT_SOURCE_DIR "/models/minilm-l6-squad";
inline constexpr int64_t kEnginePositions = 160;

/// model.onnx in `directory`, with a tokenizer unless `tokenizer` is false.
inline void write_engine_model(const std::filesystem::path& directory,
                               onnx::GraphHead head = onnx::GraphHead::kQuestionAnswering,
                               bool tokenizer = true, bool decoder = false) {
  std::filesystem::create_directories(directory);
  const text::Tokenizer words = text::Tokenizer::from_directory(kShippedTokenizer);
  RandomBertOptions options;
  options.head = head;
  options.decoder = decoder;
  options.vocabulary = static_cast<int64_t>(words.vocabulary().size());
  options.positions = kEnginePositions;
  const RandomBert bert(options);
  onnx::write_model(onnx::build_bert_graph(bert.source()), directory / "model.onnx");
  if (tokenizer) words.save(directory);
}

struct Question {
  std::string id, question, context;
};

/// The first `count` questions of the shipped calibration set.
inline std::vector<Question> real_questions(size_t count) {
  std::vector<Question> questions;
  const Json squad = read_json(kShippedTokenizer / "calibration-128.json");
  for (const Json& article : squad.at("data"))
    for (const Json& paragraph : article.at("paragraphs"))
      for (const Json& item : paragraph.at("qas"))
        if (questions.size() < count)
          questions.push_back({item.at("id"), item.at("question"), paragraph.at("context")});
  return questions;
}

/// As a SQuAD file; answers are the first word of the context.
inline void write_squad(const std::filesystem::path& file, const std::vector<Question>& questions,
                        bool answers = true) {
  Json paragraphs = Json::array();
  for (const Question& q : questions) {
    Json list = Json::array();
    if (answers) list.push_back({{"text", q.context.substr(0, q.context.find(' '))}, {"answer_start", 0}});
    paragraphs.push_back(
        {{"context", q.context},
         {"qas", Json::array({{{"id", q.id}, {"question", q.question}, {"answers", list}}})}});
  }
  write_file(file, dump_json({{"data", Json::array({{{"title", "t"}, {"paragraphs", paragraphs}}})}}));
}

/// As JSON lines for `qdqbert predict`.
inline std::string request_lines(const std::vector<Question>& questions) {
  std::string lines;
  for (const Question& q : questions)
    lines +=
        dump_json({{"id", q.id}, {"question", q.question}, {"context", q.context}}, {-1, false, false, true});
  return lines;
}

/// Each line of `text` as JSON.
inline std::vector<Json> json_lines(const std::string& text) {
  std::vector<Json> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(parse_json(std::string_view(text).substr(begin, end - begin), "a line of the output"));
    begin = end + 1;
  }
  return lines;
}

}  // namespace qdqbert::testing
