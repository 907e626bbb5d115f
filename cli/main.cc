#include "cli/verb.h"

int main(int argc, char** argv) {
  using qdqbert::cli::Verb;
  static constexpr Verb kVerbs[] = {
      {"qa",
       "question answering: calibrate, train, evaluate, predict, export (the SQuAD example, same flags)",
       nullptr},
      {"classify", "classes, several labels or numbers for texts and pairs of texts", nullptr},
      {"tag", "tags for words, and the entities that they make", nullptr},
      {"choose", "which of several texts fits", nullptr},
      {"embed", "an encoder without a head: calibrate and export for sentence embeddings", nullptr},
      {"lm", "masked and causal language modelling, next sentences, generated text", nullptr},
      {"average", "the mean of several trainings of one model, which can score better than each",
       qdqbert::cli::run_average},
      {"predict", "answers from an ONNX file: one question, a SQuAD file, JSON lines",
       qdqbert::cli::run_predict},
      {"evaluate-onnx",
       "exact match and F1 of an ONNX file (the original's evaluate-hf-trt-qa.py, same flags)",
       qdqbert::cli::run_evaluate_onnx},
      {"bench", "latency, throughput, memory and profile of an ONNX file (also takes trtexec's flags)",
       qdqbert::cli::run_bench},
      {"inspect", "what a model directory or an ONNX file holds: shape, weights, quantizers, Q/DQ pairs",
       qdqbert::cli::run_inspect},
      {"tokenize", "text lines to ids, tokens and offsets as JSON lines", qdqbert::cli::run_tokenize},
  };
  return qdqbert::cli::run_main(kVerbs, argc, argv);
}
