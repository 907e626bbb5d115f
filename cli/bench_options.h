// Flags of `qdqbert bench`, in our spelling and in that of trtexec.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/engine_flags.h"

namespace qdqbert::cli {

struct BenchOptions {
  std::string model;
  EngineFlags engine;
  int64_t batch = 1, seq = 128;
  double seconds = 3, warmup = 0.5;  ///< seconds
  int64_t iterations = 10;           ///< at least so many runs
  int64_t average_runs = 0;          ///< print the mean of each so many runs
  std::string lengths;               ///< "", "mixed" or a file
  std::optional<int64_t> tokens_per_batch;
  bool profile = false, verbose = false, like_ort_script = false;
  std::optional<std::string> json;
};

/// nullopt after --help. With --onnx the arguments are trtexec's: `--shapes=input_ids:64x128,...` gives batch
/// and length, --duration seconds, --warmUp milliseconds, --int8 our integer kernels, --fp16 without it BF16;
/// other flags of trtexec are logged as ignored. Throws UsageError.
std::optional<BenchOptions> parse_bench(const Arguments& arguments);

}  // namespace qdqbert::cli
