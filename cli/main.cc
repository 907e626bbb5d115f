#include "cli/verb.h"

int main(int argc, char** argv) {
  using qdqbert::cli::Verb;
  static constexpr Verb kVerbs[] = {
      {"qa", "question answering: calibrate, evaluate, predict, export (the SQuAD example, same flags)",
       nullptr},
      {"inspect", "what a model directory or an ONNX file holds: shape, weights, quantizers, Q/DQ pairs",
       qdqbert::cli::run_inspect},
      {"tokenize", "text lines to ids, tokens and offsets as JSON lines", qdqbert::cli::run_tokenize},
  };
  return qdqbert::cli::run_main(kVerbs, argc, argv);
}
