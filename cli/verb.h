// Verbs of the command. `qdqbert` holds those that need no LibTorch; the training verbs live in a second
// executable beside it, `qdqbert-train`, which `qdqbert` starts, so that nobody waits for 300 shared
// libraries to answer --help.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qdqbert::cli {

using Arguments = std::vector<std::string>;

struct Verb {
  std::string_view name;
  std::string_view summary;  ///< one line for `qdqbert --help`
  /// Runs with the arguments behind the verb; returns the exit code. nullptr: in the training executable.
  int (*run)(const Arguments& arguments);
};

/// Dispatches argv[1]. Exceptions become one line on stderr and exit code 2
/// (bad usage or input) or 1 (anything else).
int run_main(std::span<const Verb> verbs, int argc, char** argv);

int run_tokenize(const Arguments& arguments);
int run_average(const Arguments& arguments);
int run_inspect(const Arguments& arguments);
int run_predict(const Arguments& arguments);
int run_evaluate_onnx(const Arguments& arguments);
int run_bench(const Arguments& arguments);
int run_qa(const Arguments& arguments);
int run_classify(const Arguments& arguments);
int run_tag(const Arguments& arguments);
int run_choose(const Arguments& arguments);
int run_embed(const Arguments& arguments);
int run_lm(const Arguments& arguments);

}  // namespace qdqbert::cli
