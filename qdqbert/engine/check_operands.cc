#include "qdqbert/engine/check_operands.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "qdqbert/base/error.h"

namespace qdqbert::engine {

namespace {

constexpr size_t kAnyNumber = std::numeric_limits<size_t>::max();

struct Operands {
  size_t least, most;
  /// Places below `least` that may be left out all the same.
  std::vector<size_t> optional = {};
};

using Table = std::map<std::string, Operands, std::less<>>;

Table make_table() {
  Table table;
  const auto add = [&](std::initializer_list<const char*> ops, const Operands& operands) {
    for (const char* op : ops) table.emplace(op, operands);
  };
  add({"Abs",
       "ArgMax",
       "ArgMin",
       "Cast",
       "Ceil",
       "ConstantOfShape",
       "Cos",
       "DynamicQuantizeLinear",
       "Elu",
       "Erf",
       "Exp",
       "Flatten",
       "Floor",
       "Gelu",
       "HardSigmoid",
       "HardSwish",
       "Hardmax",
       "Identity",
       "IsInf",
       "IsNaN",
       "LeakyRelu",
       "Log",
       "LogSoftmax",
       "Neg",
       "NonZero",
       "Not",
       "Reciprocal",
       "Relu",
       "Round",
       "Selu",
       "Shape",
       "Sigmoid",
       "Sign",
       "Sin",
       "Size",
       "Softmax",
       "Softplus",
       "Softsign",
       "Sqrt",
       "Tanh",
       "Transpose",
       "com.microsoft.Gelu",
       "com.microsoft.QuickGelu"},
      {1, 1});
  add({"Add",
       "And",
       "BitShift",
       "CumSum",
       "Div",
       "Equal",
       "Expand",
       "Gather",
       "GatherElements",
       "GatherND",
       "Greater",
       "GreaterOrEqual",
       "Less",
       "LessOrEqual",
       "MatMul",
       "Mod",
       "Mul",
       "Or",
       "PRelu",
       "Pow",
       "Reshape",
       "Sub",
       "Tile",
       "Xor",
       "com.microsoft.BiasGelu",
       "com.microsoft.FusedMatMul"},
      {2, 2});
  add({"OneHot", "Range", "ScatterND", "Where"}, {3, 3});
  add({"Concat", "Einsum", "Max", "Mean", "Min", "Sum"}, {1, kAnyNumber});
  // Axes and sizes moved from attributes to inputs with opsets 13 and 18.
  add({"ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
       "ReduceSumSquare", "Split", "Squeeze", "Unsqueeze", "Trilu", "com.microsoft.FastGelu"},
      {1, 2});
  add({"Clip", "Dropout"}, {1, 3});
  add({"LayerNormalization", "RMSNormalization", "Gemm", "QuantizeLinear", "DequantizeLinear",
       "com.microsoft.QuantizeLinear", "com.microsoft.DequantizeLinear", "com.microsoft.FusedGemm"},
      {2, 3});
  add({"Pad", "MatMulInteger"}, {2, 4});
  add({"Slice"}, {3, 5});
  add({"com.microsoft.SkipLayerNormalization"}, {3, 5});
  add({"com.microsoft.DynamicQuantizeMatMul"}, {3, 5});
  add({"com.microsoft.MatMulIntegerToFloat"}, {4, 7});
  add({"QLinearMatMul"}, {8, 8});
  add({"com.microsoft.QLinearAdd", "com.microsoft.QLinearMul"}, {7, 8, {2, 5}});
  add({"com.microsoft.QLinearSigmoid", "com.microsoft.QLinearLeakyRelu", "com.microsoft.QLinearSoftmax"},
      {4, 5, {2}});
  return table;
}

}  // namespace

void check_operands(const Graph& graph) {
  static const Table table = make_table();
  for (const Node& node : graph.nodes) {
    const auto found = table.find(node.op);
    if (found == table.end()) continue;
    const Operands& operands = found->second;
    if (node.inputs.size() < operands.least || node.inputs.size() > operands.most)
      fail("[onnx] {}: node {} ({}) has {} inputs, the operator takes {} {}", graph.name, node.name, node.op,
           node.inputs.size(), node.inputs.size() < operands.least ? "at least" : "at most",
           node.inputs.size() < operands.least ? operands.least : operands.most);
    for (size_t i = 0; i < operands.least; ++i) {
      const bool optional =
          std::find(operands.optional.begin(), operands.optional.end(), i) != operands.optional.end();
      if (node.inputs[i] == kNoValue && !optional)
        fail("[onnx] {}: node {} ({}) leaves out input {}, which the operator needs", graph.name, node.name,
             node.op, i);
    }
    if (node.outputs.empty() || node.outputs[0] == kNoValue)
      fail("[onnx] {}: node {} ({}) leaves out its first output", graph.name, node.name, node.op);
  }
}

}  // namespace qdqbert::engine
