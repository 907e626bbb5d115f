// Labels for the lines of a file, many in one run.
//   example_classify_lines MODEL FILE
#include <cstdio>
#include <fstream>

#include "qdqbert/inference.h"

int main(int argc, char** argv) {
  using namespace qdqbert::pipeline;
  if (argc != 3) {
    std::fprintf(stderr, "usage: example_classify_lines MODEL FILE\n");
    return 2;
  }
  try {
    std::ifstream file(argv[2]);
    std::vector<TextRequest> requests;
    for (std::string line; std::getline(file, line);)
      if (!line.empty()) requests.push_back({line});
    const Classifier classifier(Pipeline::from_directory(argv[1]));
    RunControl control;  // a std::stop_token in it would end the call between two runs
    control.progress = [](std::string_view, int64_t done, int64_t total) {
      std::fprintf(stderr, "%lld of %lld lines\n", static_cast<long long>(done),
                   static_cast<long long>(total));
    };
    const std::vector<Classification> answers =
        classifier.answer(std::span<const TextRequest>(requests), control);
    for (size_t i = 0; i < answers.size(); ++i)
      std::printf("%s %.4f  %s\n", answers[i].scores[0].label.c_str(), answers[i].scores[0].score,
                  requests[i].text.c_str());
    return 0;
  } catch (const qdqbert::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
