// rooms: io base
// Reading arbitrary bytes as safetensors either refuses or gives views inside the bytes,
// and what was read can be written.
#include <cstdint>
#include <cstdlib>

#include "qdqbert/base/error.h"
#include "qdqbert/io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qdqbert::io;
  try {
    const SafetensorsFile file = SafetensorsFile::parse(std::as_bytes(std::span(data, size)), "fuzz");
    uint8_t sum = 0;
    for (const auto& [name, tensor] : file.tensors())
      for (const std::byte b : tensor.data) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(b));
    volatile uint8_t sink = sum;
    (void)sink;
    std::vector<size_t> order;
    std::string copy = safetensors_header(file.tensors(), file.metadata(), order);
    for (const size_t i : order) {
      const auto& bytes = file.tensors()[i].tensor.data;
      copy.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    const SafetensorsFile again = SafetensorsFile::parse(std::as_bytes(std::span(copy)), "copy");
    if (again.tensors().size() != file.tensors().size() || again.metadata() != file.metadata()) std::abort();
  } catch (const qdqbert::InputError&) {
  }
  return 0;
}
