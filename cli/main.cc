#include "cli/verb.h"

int main(int argc, char** argv) {
  using qdqbert::cli::Verb;
  static constexpr Verb kVerbs[] = {
      {"qa", "question answering: calibrate, evaluate, predict, export (the SQuAD example, same flags)",
       nullptr},
      {"tokenize", "text lines to ids, tokens and offsets as JSON lines", qdqbert::cli::run_tokenize},
  };
  return qdqbert::cli::run_main(kVerbs, argc, argv);
}
