// rooms: onnx base
#include <cstddef>
#include <cstdint>

#include "qdqbert/base/error.h"
#include "qdqbert/onnx/dump.h"
#include "qdqbert/onnx/lint.h"
#include "qdqbert/onnx/reader.h"
#include "qdqbert/onnx/summary.h"

#include "tests/fuzz/onnx_mutator.h"

// Whatever the bytes are, reading and describing them ends with a model or with one of our exceptions.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto bytes = std::as_bytes(std::span(data, size));
    const qdqbert::onnx::Model model = qdqbert::onnx::parse_model(bytes, "fuzz", "/nonexistent");
    qdqbert::onnx::dump(model);
    qdqbert::onnx::lint(model);
    qdqbert::onnx::summarize(model);
  } catch (const qdqbert::Error&) {
  }
  return 0;
}
