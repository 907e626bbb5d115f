// rooms: engine base
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/check_operands.h"
#include "qdqbert/engine/check_quantization.h"
#include "qdqbert/engine/import_onnx.h"

// Whatever the bytes are, they end as a graph that holds together, or with one of our exceptions.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qdqbert::engine;
  const std::shared_ptr<std::byte[]> owner(new std::byte[size]);
  if (size > 0) std::memcpy(owner.get(), data, size);
  try {
    Graph graph = import_onnx({owner.get(), size}, owner, "fuzz", "/nonexistent");
    for (const Value& value : graph.values)
      if (value.constant && value.constant->bytes.size() != static_cast<size_t>(value.constant->count()) *
                                                                qdqbert::size_of(value.constant->dtype))
        __builtin_trap();
    std::vector<bool> made(graph.values.size(), false);
    for (const ValueId id : graph.inputs) made[id] = true;
    for (const Node& node : graph.nodes) {
      for (const ValueId id : node.inputs)
        if (id != kNoValue && !made[id] && !graph.is_constant(id)) __builtin_trap();
      for (const ValueId id : node.outputs)
        if (id != kNoValue) made[id] = true;
    }
    for (const ValueId id : graph.outputs)
      if (!made[id] && !graph.is_constant(id)) __builtin_trap();
    to_text(graph);
    remove_unused(graph);
    check_operands(graph);
    check_quantization(graph);
  } catch (const qdqbert::Error&) {
  }
  return 0;
}
