#include "qdqbert/nn/block_cache.h"

#include "cli/verb.h"

int main(int argc, char** argv) {
  using qdqbert::cli::Verb;
  static constexpr Verb kVerbs[] = {
      {"qa", "question answering: calibrate, train, evaluate, predict, export (the SQuAD example, same flags)",
       qdqbert::cli::run_qa},
  };
  qdqbert::nn::cache_large_tensors();
  return qdqbert::cli::run_main(kVerbs, argc, argv);
}
