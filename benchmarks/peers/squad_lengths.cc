// Prints the number of tokens of every feature of a SQuAD file, one a line: what a model meets in real life.
//
//   squad_lengths DATA VOCABULARY [MAX_LENGTH STRIDE]
#include <cstdio>
#include <string>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/base/thread_pool.h"
#include "qdqbert/tasks/squad_features.h"

int main(int argc, char** argv) {
  using namespace qdqbert;
  try {
    if (argc != 3 && argc != 5) fail<UsageError>("usage: squad_lengths DATA VOCABULARY [MAX_LENGTH STRIDE]");
    tasks::FeatureOptions options;
    options.max_length = argc == 5 ? std::stoi(argv[3]) : 384;
    options.stride = argc == 5 ? std::stoi(argv[4]) : 128;
    options.labels = false;
    const auto tokenizer = text::Tokenizer::from_vocabulary(argv[2]);
    const auto features =
        tasks::SquadFeatures::build(tasks::read_squad(argv[1]), tokenizer, options, default_threads());
    for (size_t f = 0; f < features.size(); ++f) std::printf("%u\n", features[f].length);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
