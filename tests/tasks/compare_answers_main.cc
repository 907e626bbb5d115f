// Compares the answers of several runs on one machine with those of the same runs on another, by the noise
// rule's error of a paired difference. usage: compare_answers QUESTIONS DIRECTORY_A DIRECTORY_B RUN... A run
// is a directory in both, with the eval_predictions.json that qa and evaluate-onnx write.
#include <cstdio>
#include <string>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/base/json.h"
#include "qdqbert/tasks/paired_bootstrap.h"

namespace qdqbert {
namespace {

std::vector<std::string> answers_in(const std::filesystem::path& directory,
                                    const std::vector<tasks::SquadExample>& examples) {
  const std::filesystem::path path = directory / "eval_predictions.json";
  const Json recorded = read_json(path);
  std::vector<std::string> answers;
  for (const tasks::SquadExample& example : examples) {
    if (!recorded.contains(example.id))
      fail("[{}] has no answer to question {}; both runs need all questions", path.string(), example.id);
    answers.push_back(recorded.at(example.id).get<std::string>());
  }
  return answers;
}

void compare(const std::vector<std::string>& arguments) {
  const std::filesystem::path a = arguments[1], b = arguments[2];
  const auto examples = tasks::read_squad(arguments[0]);
  std::printf("| run | F1 | F1 | difference ± standard error | other answers |\n");
  std::printf("| --- | ---: | ---: | ---: | ---: |\n");
  for (size_t i = 3; i < arguments.size(); ++i) {
    const auto ours = answers_in(a / arguments[i], examples), theirs = answers_in(b / arguments[i], examples);
    const tasks::F1Difference f1 = tasks::paired_bootstrap_f1(examples, ours, theirs);
    std::printf("| %s | %.2f | %.2f | %+.2f ± %.2f | %.1f %% |\n", arguments[i].c_str(), f1.f1_a, f1.f1_b,
                f1.difference, f1.standard_error, 100 * tasks::share_of_differing_answers(ours, theirs));
  }
}

}  // namespace
}  // namespace qdqbert

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: compare_answers QUESTIONS DIRECTORY_A DIRECTORY_B RUN...\n");
    return 2;
  }
  try {
    qdqbert::compare({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
  return 0;
}
