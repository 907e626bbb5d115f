// An ONNX file without tokenizer: token ids in, outputs as the file names them.
//   example_run_session FILE.onnx|DIRECTORY ID...
#include <cstdio>
#include <cstdlib>

#include "qdqbert/inference.h"

int main(int argc, char** argv) {
  using namespace qdqbert;
  if (argc < 3) {
    std::fprintf(stderr, "usage: example_run_session FILE.onnx|DIRECTORY ID...\n");
    return 2;
  }
  try {
    const engine::Session session(pipeline::find_onnx_file(argv[1]));
    std::vector<int32_t> ids;
    for (int i = 2; i < argc; ++i) ids.push_back(std::atoi(argv[i]));
    engine::PaddedBatch<int32_t> batch;  // one text; without a mask all of its tokens count
    batch.batch = 1;
    batch.length = ids.size();
    batch.input_ids = ids;
    for (const engine::Output& output : session.run(batch)) {
      std::printf("%s:", output.name.c_str());
      for (const float value : output.values) std::printf(" %.4f", value);
      std::printf("\n");
    }
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
