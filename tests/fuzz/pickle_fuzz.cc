// rooms: io base
// Arbitrary bytes as pytorch_model.bin, and as the pickle inside one
// (which the archive's checksum would hide).
#include <cstdint>

#include "qdqbert/base/error.h"
#include "qdqbert/io/torch_pickle.h"
#include "qdqbert/io/unpickler.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qdqbert::io;
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    unpickle_state_dict(bytes, "fuzz");
  } catch (const qdqbert::InputError&) {
  }
  try {
    uint8_t sum = 0;
    const TensorSet set = parse_torch_pickle(bytes, "fuzz");
    for (const auto& [name, tensor] : set.tensors())
      for (const std::byte b : tensor.data) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(b));
    volatile uint8_t sink = sum;
    (void)sink;
  } catch (const qdqbert::InputError&) {
  }
  return 0;
}
