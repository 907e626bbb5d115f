#include "cli/verb.h"

int main(int argc, char** argv) {
  using qdqbert::cli::Verb;
  static constexpr Verb kVerbs[] = {
      {"qa", "question answering: calibrate, evaluate, predict, export (the SQuAD example, same flags)",
       qdqbert::cli::run_qa},
  };
  return qdqbert::cli::run_main(kVerbs, argc, argv);
}
