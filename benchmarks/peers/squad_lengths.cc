// Prints the number of tokens of every feature of a SQuAD file, one a line: what a model meets in real life.
//
//   squad_lengths DATA VOCABULARY [MAX_LENGTH STRIDE]
//   squad_lengths DATA VOCABULARY texts      each question and each paragraph as a text, cut at 384 tokens
#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/tasks/squad_features.h"

namespace {

void print_texts(const std::vector<qdqbert::tasks::SquadExample>& examples,
                 const qdqbert::text::Tokenizer& tokenizer) {
  constexpr size_t kLongest = 384, kSpecial = 2;
  const auto print = [&](const std::string& text) {
    std::printf("%zu\n", std::min(tokenizer.tokenize(text).size() + kSpecial, kLongest));
  };
  std::set<const std::string*> seen;
  for (const qdqbert::tasks::SquadExample& example : examples) {
    if (seen.insert(example.context.get()).second) print(*example.context);
    print(example.question);
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace qdqbert;
  try {
    const bool whole_texts = argc == 4 && std::string(argv[3]) == "texts";
    if (argc != 3 && argc != 5 && !whole_texts)
      fail<UsageError>("usage: squad_lengths DATA VOCABULARY [MAX_LENGTH STRIDE | texts]");
    const auto tokenizer = text::Tokenizer::from_vocabulary(argv[2]);
    if (whole_texts) {
      print_texts(tasks::read_squad(argv[1]), tokenizer);
      return 0;
    }
    tasks::FeatureOptions options;
    options.max_length = argc == 5 ? std::stoi(argv[3]) : 384;
    options.stride = argc == 5 ? std::stoi(argv[4]) : 128;
    options.labels = false;
    const auto features =
        tasks::SquadFeatures::build(tasks::read_squad(argv[1]), tokenizer, options, default_threads());
    for (size_t f = 0; f < features.size(); ++f) std::printf("%u\n", features[f].length);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
