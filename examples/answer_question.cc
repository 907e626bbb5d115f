// Answers a question from a text with an exported model.
//   example_answer_question MODEL QUESTION TEXT
#include <cstdio>

#include "qdqbert/inference.h"

int main(int argc, char** argv) {
  using namespace qdqbert::pipeline;
  if (argc != 4) {
    std::fprintf(stderr, "usage: example_answer_question MODEL QUESTION TEXT\n");
    return 2;
  }
  try {
    const QuestionAnswerer answerer(Pipeline::from_directory(argv[1]));
    const Answer answer = answerer.answer(argv[2], argv[3]);
    std::printf("%s\n  score %.4f, bytes %zu to %zu\n", answer.best.text.c_str(), answer.best.score,
                answer.best.place.byte_begin, answer.best.place.byte_end);
    return 0;
  } catch (const qdqbert::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
