// Writes a model that differs from another one only in the order of its sums, as the yardstick of the noise
// rule for any task. usage: reorder_features MODEL OUTPUT [SEED]
#include <cstdio>
#include <string>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/train/model_directory.h"

#include "tests/onnx/reorder_features.h"

int main(int argc, char** argv) {
  using namespace qdqbert;
  if (argc != 3 && argc != 4) {
    std::fprintf(stderr, "usage: reorder_features MODEL OUTPUT [SEED]\n");
    return 2;
  }
  try {
    const std::filesystem::path from = argv[1];
    const auto loaded = model::load_auto_model(from);
    const unsigned long seed = argc == 4 ? std::stoul(argv[3]) : 3;
    testing::reorder_features(*loaded.model, static_cast<unsigned>(seed));
    const auto record = from / "quantization.json";
    train::save_quantized(*loaded.model, text::Tokenizer::from_directory(from),
                          std::filesystem::exists(record) ? read_json(record) : Json(), argv[2], {});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
  return 0;
}
