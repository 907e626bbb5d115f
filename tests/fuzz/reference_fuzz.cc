// rooms: engine base
// One node of any operator over inputs of any type and shape: a result or an InputError, nothing else.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/reference/operators.h"

namespace {

using namespace qdqbert;
using namespace qdqbert::engine;

constexpr const char* kOperators[] = {"Add",
                                      "Sub",
                                      "Mul",
                                      "Div",
                                      "Pow",
                                      "Min",
                                      "Max",
                                      "Clip",
                                      "Equal",
                                      "Less",
                                      "GreaterOrEqual",
                                      "And",
                                      "Or",
                                      "Not",
                                      "IsNaN",
                                      "Where",
                                      "Sqrt",
                                      "Erf",
                                      "Exp",
                                      "Tanh",
                                      "Sigmoid",
                                      "Relu",
                                      "Neg",
                                      "Abs",
                                      "Reciprocal",
                                      "Gelu",
                                      "Identity",
                                      "Dropout",
                                      "Cast",
                                      "Shape",
                                      "Size",
                                      "Gather",
                                      "GatherElements",
                                      "Slice",
                                      "Split",
                                      "Squeeze",
                                      "Unsqueeze",
                                      "Reshape",
                                      "Transpose",
                                      "Concat",
                                      "Expand",
                                      "Tile",
                                      "Flatten",
                                      "Range",
                                      "ConstantOfShape",
                                      "CumSum",
                                      "Einsum",
                                      "ReduceMean",
                                      "ReduceSum",
                                      "ReduceMax",
                                      "MatMul",
                                      "Gemm",
                                      "Softmax",
                                      "LogSoftmax",
                                      "LayerNormalization",
                                      "QuantizeLinear",
                                      "DequantizeLinear",
                                      "DynamicQuantizeLinear",
                                      "MatMulInteger",
                                      "QLinearMatMul",
                                      "com.microsoft.QLinearAdd",
                                      "com.microsoft.QLinearMul",
                                      "com.microsoft.QLinearSigmoid",
                                      "com.microsoft.FastGelu",
                                      "com.microsoft.BiasGelu",
                                      "com.microsoft.SkipLayerNormalization",
                                      "com.microsoft.FusedMatMul",
                                      "com.microsoft.MatMulIntegerToFloat",
                                      "com.microsoft.DynamicQuantizeMatMul"};
constexpr const char* kIntegers[] = {
    "axis",      "keepdims", "to",        "transA",      "transB",     "start",      "end",
    "exclusive", "reverse",  "allowzero", "num_outputs", "block_size", "stash_type", "noop_with_empty_axes"};
constexpr const char* kLists[] = {"axes", "perm", "split"};
constexpr const char* kEquations[] = {"ij,jk->ik", "bhld,lrd->bhlr", "ii->i", "...ij,...jk->...ik", "ij->",
                                      "i,j",       "a..,b"};
constexpr int64_t kLarge[] = {INT64_MAX,        INT64_MIN,           int64_t{1} << 40,
                              int64_t{1} << 62, -(int64_t{1} << 62), INT32_MIN};

struct Bytes {
  const uint8_t* data;
  size_t size;
  uint8_t next() {
    if (size == 0) return 0;
    --size;
    return *data++;
  }
  /// Mostly small, sometimes extreme.
  int64_t number() {
    const uint8_t byte = next();
    return byte >= 250 ? kLarge[byte - 250] : static_cast<int64_t>(byte % 13) - 4;
  }
};

Tensor read_tensor(Bytes& bytes) {
  constexpr DType kTypes[] = {DType::kF32, DType::kF32, DType::kF32,  DType::kI64, DType::kI64, DType::kI32,
                              DType::kI8,  DType::kU8,  DType::kBool, DType::kF16, DType::kF64, DType::kBF16};
  const DType dtype = kTypes[bytes.next() % std::size(kTypes)];
  Shape shape;
  for (int rank = bytes.next() % 5; rank > 0; --rank) {
    const uint8_t byte = bytes.next();
    shape.push_back(byte >= 252 ? 0 : byte % 5 + 1);
  }
  // With a size of 0 the others may be anything.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end() && shape[0] == 0 && shape.size() > 1)
    shape.back() = bytes.next() >= 128 ? int64_t{1} << 62 : 2;
  WritableTensor tensor = allocate_tensor(dtype, shape);
  for (int64_t i = 0; i < tensor.tensor.count(); ++i) {
    if (dtype == DType::kI64)
      tensor.as<int64_t>()[i] = bytes.number();
    else if (dtype == DType::kI32)
      tensor.as<int32_t>()[i] = static_cast<int32_t>(bytes.number());
    else if (dtype == DType::kBool)
      tensor.as<uint8_t>()[i] = bytes.next() & 1;
    else if (dtype == DType::kF32 && bytes.next() < 230)
      tensor.as<float>()[i] = static_cast<float>(bytes.number()) * 0.37f;
    else
      for (size_t b = 0; b < size_of(dtype); ++b)
        tensor.data[static_cast<size_t>(i) * size_of(dtype) + b] = std::byte{bytes.next()};
  }
  return tensor.tensor;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes{data, size};
  Node node;
  node.name = "node";
  node.op = kOperators[bytes.next() % std::size(kOperators)];
  node.opset = 11 + bytes.next() % 13;
  std::vector<Tensor> inputs(bytes.next() % 9);
  std::vector<const Tensor*> pointers;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool left_out = bytes.next() > 245;
    if (!left_out)
      inputs[i] = i > 0 && inputs[i - 1].owner && bytes.next() < 100 ? inputs[i - 1] : read_tensor(bytes);
    pointers.push_back(left_out ? nullptr : &inputs[i]);
    node.inputs.push_back(left_out ? kNoValue : static_cast<ValueId>(i));
  }
  for (int i = bytes.next() % 4; i >= 0; --i) node.outputs.push_back(static_cast<ValueId>(100 + i));
  for (int i = bytes.next() % 3; i > 0; --i)
    node.attributes[kIntegers[bytes.next() % std::size(kIntegers)]] = bytes.number();
  if (bytes.next() < 80) {
    std::vector<int64_t> list(bytes.next() % 4);
    for (int64_t& value : list) value = bytes.number();
    node.attributes[kLists[bytes.next() % std::size(kLists)]] = list;
  }
  if (node.op == "Einsum")
    node.attributes["equation"] = std::string(kEquations[bytes.next() % std::size(kEquations)]);
  try {
    for (const Tensor& output : reference::evaluate(node, pointers, {.largest_tensor = 1 << 20}))
      if (output.bytes.size() != static_cast<size_t>(output.count()) * size_of(output.dtype))
        __builtin_trap();
  } catch (const InputError&) {
  }
  return 0;
}
