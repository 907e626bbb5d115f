// Times the tokenizer on the texts of a SQuAD file: contexts and questions, one thread and several. Prints
// one JSON object; --ids FILE writes ids and offsets as int32 ([n, ids, begin0, end0, ...] for each text) for
// comparison with another implementation.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/text/tokenizer.h"

namespace {

using namespace qdqbert;

struct Texts {
  std::vector<std::string> contexts, questions;
};

Texts read_texts(const std::string& path) {
  Texts texts;
  const Json data = read_json(path);
  for (const Json& article : data.at("data"))
    for (const Json& paragraph : article.at("paragraphs")) {
      texts.contexts.push_back(paragraph.at("context"));
      for (const Json& question : paragraph.at("qas")) texts.questions.push_back(question.at("question"));
    }
  return texts;
}

struct Timing {
  double best_seconds = 1e30, median_seconds = 0;
};

/// Every round gives every text its own ids and offsets, as an encoder has to.
Timing time_rounds(const text::Tokenizer& tokenizer, const std::vector<std::string>& texts, int threads,
                   int rounds) {
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    std::vector<text::Tokens> tokens(texts.size());
    const auto start = std::chrono::steady_clock::now();
    parallel_for(texts.size(), 64, threads, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) tokenizer.tokenize(texts[i], tokens[i]);
    });
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return {seconds.front(), seconds[seconds.size() / 2]};
}

void write_tokens(const text::Tokenizer& tokenizer, const Texts& texts, const std::string& path) {
  AtomicFile file(path);
  std::vector<int32_t> row;
  for (const auto* list : {&texts.contexts, &texts.questions})
    for (const std::string& one : *list) {
      const text::Tokens tokens = tokenizer.tokenize(one);
      row.assign(1, static_cast<int32_t>(tokens.size()));
      row.insert(row.end(), tokens.ids.begin(), tokens.ids.end());
      for (const text::Offset offset : tokens.offsets) {
        row.push_back(static_cast<int32_t>(offset.begin));
        row.push_back(static_cast<int32_t>(offset.end));
      }
      file.write(std::as_bytes(std::span(row)));
    }
  file.commit();
}

int run(int argc, char** argv) {
  std::string vocabulary, data, ids;
  int rounds = 5, threads = default_threads();
  bool lower_case = true;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i], value = argv[i + 1];
    if (flag == "--vocab") vocabulary = value;
    if (flag == "--data") data = value;
    if (flag == "--ids") ids = value;
    if (flag == "--rounds") rounds = std::max(1, std::atoi(value.c_str()));
    if (flag == "--threads") threads = std::max(1, std::atoi(value.c_str()));
    if (flag == "--lower") lower_case = value == "1";
  }
  if (vocabulary.empty() || data.empty()) {
    std::fputs(
        "usage: tokenizer_benchmark --vocab VOCAB --data SQUAD.json[.gz] [--lower 0|1] [--rounds N] [--threads N] [--ids FILE]\n",
        stderr);
    return 2;
  }
  text::TokenizerOverrides overrides;
  overrides.lower_case = lower_case;
  const text::Tokenizer tokenizer = text::Tokenizer::from_path(vocabulary, overrides);
  const Texts texts = read_texts(data);
  if (!ids.empty()) write_tokens(tokenizer, texts, ids);
  Json result = Json::object();
  for (const auto& [name, list] :
       {std::pair("contexts", &texts.contexts), std::pair("questions", &texts.questions)}) {
    size_t bytes = 0;
    for (const std::string& one : *list) bytes += one.size();
    Json part = {{"texts", list->size()}, {"bytes", bytes}};
    std::vector<int> counts{1};
    if (threads > 1) counts.push_back(threads);
    for (const int count : counts) {
      const Timing timing = time_rounds(tokenizer, *list, count, rounds);
      part["threads"][std::to_string(count)] = {
          {"best_seconds", timing.best_seconds},
          {"median_seconds", timing.median_seconds},
          {"best_mb_per_s", static_cast<double>(bytes) / 1e6 / timing.best_seconds},
          {"median_mb_per_s", static_cast<double>(bytes) / 1e6 / timing.median_seconds}};
    }
    result[name] = part;
  }
  std::puts(dump_json(result).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tokenizer_benchmark: %s\n", error.what());
    return 2;
  }
}
