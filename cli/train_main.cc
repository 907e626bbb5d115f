#include <cstdio>

#include "qdqbert/nn/block_cache.h"

#include "cli/verb.h"

int main(int argc, char** argv) {
  using qdqbert::cli::Verb;
  static constexpr Verb kVerbs[] = {
      {"qa",
       "question answering: calibrate, train, evaluate, predict, export (the SQuAD example, same flags)",
       qdqbert::cli::run_qa},
      {"classify", "classes, several labels or numbers for texts and pairs of texts",
       qdqbert::cli::run_classify},
      {"tag", "tags for words, and the entities that they make", qdqbert::cli::run_tag},
      {"choose", "which of several texts fits", qdqbert::cli::run_choose},
      {"embed", "an encoder without a head: calibrate and export for sentence embeddings",
       qdqbert::cli::run_embed},
      {"lm", "masked and causal language modelling, next sentences, generated text", qdqbert::cli::run_lm},
  };
  qdqbert::nn::cache_large_tensors();
  // In a file or a pipe, what is told on standard error stands where it belongs between lines of this.
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  return qdqbert::cli::run_main(kVerbs, argc, argv);
}
