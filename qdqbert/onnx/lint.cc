#include "qdqbert/onnx/lint.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "qdqbert/base/error.h"
#include "qdqbert/onnx/graph_index.h"

namespace qdqbert::onnx {
namespace {

using Node = ::onnx::NodeProto;

/// Of nodes between an edge and what decides about it; graphs from elsewhere may be cyclic.
constexpr int kLongestPath = 64;

bool moves_data_only(const std::string& op) {
  static const char* const kOps[] = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Gather",
                                     "Slice",   "Concat",    "Split",   "Flatten",   "Identity"};
  return std::find(std::begin(kOps), std::end(kOps), op) != std::end(kOps);
}

class Linter {
 public:
  explicit Linter(const Model& model) : model_(model), index_(model) {}

  LintReport run() {
    LintReport report;
    for (const Node& node : model_.proto().graph().node()) {
      if (node.op_type() == "QuantizeLinear") report.pairs.push_back(judge_pair(node));
      if (node.op_type() == "DequantizeLinear" && index_.is_initializer(input_of(node, 0)))
        report.pairs.push_back(judge_dequantized_weight(node));
      if (node.op_type() == "DequantizeLinear" && !index_.is_initializer(input_of(node, 0)) &&
          !is_op(index_.producer(input_of(node, 0)), "QuantizeLinear"))
        report.pairs.push_back(orphan(node, "its input is not quantized"));
    }
    return report;
  }

 private:
  static bool is_op(const Node* node, std::string_view op) {
    return node != nullptr && node->op_type() == op;
  }
  static std::string name_of(const Node& node) { return node.name().substr(0, node.name().rfind('/')); }
  static PairReport orphan(const Node& node, const std::string& why) {
    return {name_of(node), PairFate::kOrphan, why, why};
  }

  PairReport judge_pair(const Node& q) {
    const auto& readers = index_.consumers(output_of(q));
    if (readers.empty()) return orphan(q, "nothing dequantizes it");
    if (const std::string why = broken_rule(q); !why.empty()) return orphan(q, why);
    PairReport worst;
    bool first = true;
    for (const Node* dq : readers) {
      if (dq->op_type() != "DequantizeLinear") return orphan(q, dq->op_type() + " reads the codes");
      if (!same_constant(input_of(q, 1), input_of(*dq, 1)) ||
          !same_constant(q.input_size() > 2 ? input_of(q, 2) : "",
                         dq->input_size() > 2 ? input_of(*dq, 2) : ""))
        return orphan(q, "its DequantizeLinear has another scale or zero point");
      const PairReport one = judge_uses(q, *dq);
      if (first || one.fate > worst.fate) worst = one;
      first = false;
    }
    return worst;
  }

  PairReport judge_dequantized_weight(const Node& dq) {
    if (const std::string why = broken_rule(dq); !why.empty()) return orphan(dq, why);
    return judge_uses(dq, dq);
  }

  bool same_constant(const std::string& a, const std::string& b) const {
    if (a == b) return true;
    const auto x = index_.constant(a), y = index_.constant(b);
    return x && y && x->dtype == y->dtype && x->shape == y->shape &&
           std::equal(x->data.begin(), x->data.end(), y->data.begin(), y->data.end());
  }

  /// Empty when the pair keeps the rules that hold for both.
  std::string broken_rule(const Node& node) const {
    if (node.input_size() < 2) return "it has no scale";
    const auto scale = index_.constant(input_of(node, 1));
    if (!scale) return "its scale is computed";
    for (float value : to_float32(*scale))
      if (!(value > 0) || !std::isfinite(value)) return fmt::format("its scale {} is not positive", value);
    if (node.input_size() > 2) {
      const auto zero = index_.constant(input_of(node, 2));
      if (!zero || zero->dtype != DType::kI8) return "its zero point is not INT8";
      if (std::any_of(zero->data.begin(), zero->data.end(), [](std::byte b) { return b != std::byte{0}; }))
        return "its zero point is not 0";
    } else {
      return "it has no zero point, so its codes are unsigned";
    }
    if (scale->count() > 1 && !index_.is_initializer(input_of(node, 0)))
      return "an activation has several scales";
    return {};
  }

  PairReport judge_uses(const Node& named, const Node& dq) {
    PairReport best{name_of(named), PairFate::kOrphan, "nothing uses it", "nothing uses it"};
    for (const Node* user : users(output_of(dq))) {
      PairReport one = judge_use(*user);
      one.name = best.name;
      if (one.fate < best.fate) best = one;
    }
    return best;
  }

  /// Readers of an edge, behind operators that only move data.
  std::vector<const Node*> users(const std::string& edge) const {
    std::vector<const Node*> result;
    std::vector<std::string> edges = {edge};
    for (size_t i = 0; i < edges.size() && edges.size() < 1000; ++i)
      for (const Node* node : index_.consumers(edges[i])) {
        if (moves_data_only(node->op_type())) {
          edges.insert(edges.end(), node->output().begin(), node->output().end());
        } else {
          result.push_back(node);
        }
      }
    return result;
  }

  /// Whether an edge comes from a DQ, through operators that only move data.
  bool is_dequantized(const std::string& edge) const {
    const Node* node = index_.producer(edge);
    for (int steps = 0; node != nullptr && steps < kLongestPath; ++steps) {
      if (!moves_data_only(node->op_type()) || node->input_size() == 0)
        return is_op(node, "DequantizeLinear");
      node = index_.producer(input_of(*node, 0));
    }
    return false;
  }

  /// The only reader of the node's output is a Q.
  bool quantized_behind(const Node& node) const {
    const auto& readers = index_.consumers(output_of(node));
    return readers.size() == 1 && is_op(readers[0], "QuantizeLinear") && !index_.is_output(output_of(node));
  }

  PairReport judge_use(const Node& user) const {
    const std::string& op = user.op_type();
    if (op == "MatMul" || op == "Gemm") {
      const bool both = is_dequantized(input_of(user, 0)) && is_dequantized(input_of(user, 1));
      if (!both)
        return {"", PairFate::kNotFused, op + " in float: its other input is not quantized",
                op + " in float: its other input is not quantized"};
      const bool weight = comes_from_initializer(input_of(user, 1));
      const std::string ort = op == "Gemm" && user.input_size() > 2
                                  ? "Gemm in float: its bias is not quantized"
                              : quantized_behind(user) ? "QLinearMatMul"
                                                       : "MatMulIntegerToFloat";
      return {"", PairFate::kFused, weight ? "INT8 GEMM" : "INT8 batched GEMM (fused attention)", ort};
    }
    if (op == "Add") {
      if (!is_dequantized(input_of(user, 0)) || !is_dequantized(input_of(user, 1)))
        return {"", PairFate::kNotFused, "Add in float: its other term is not quantized",
                "Add in float: its other term is not quantized"};
      return {"", PairFate::kFused, "INT8 residual of GEMM + Add",
              quantized_behind(user) ? "QLinearAdd" : "Add in float: no Q behind it"};
    }
    const std::string what = op + " has no integer form";
    return {"", PairFate::kOrphan, what, what};
  }

  bool comes_from_initializer(const std::string& edge) const {
    const Node* node = index_.producer(edge);
    for (int steps = 0; node != nullptr && steps < kLongestPath && node->input_size() > 0; ++steps) {
      if (index_.is_initializer(input_of(*node, 0))) return true;
      const bool passes = moves_data_only(node->op_type()) || node->op_type() == "DequantizeLinear" ||
                          node->op_type() == "QuantizeLinear";
      node = passes ? index_.producer(input_of(*node, 0)) : nullptr;
    }
    return false;
  }

  const Model& model_;
  GraphIndex index_;
};

const char* text_of(PairFate fate) {
  switch (fate) {
    case PairFate::kFused:
      return "fused";
    case PairFate::kNotFused:
      return "not fused";
    case PairFate::kOrphan:
      return "orphan";
  }
  return "";
}

}  // namespace

int LintReport::count(PairFate fate) const {
  return static_cast<int>(
      std::count_if(pairs.begin(), pairs.end(), [&](const PairReport& pair) { return pair.fate == fate; }));
}

std::vector<std::string> LintReport::lines() const {
  std::map<std::tuple<PairFate, std::string, std::string>, int> groups;
  for (const PairReport& pair : pairs) ++groups[{pair.fate, pair.tensorrt, pair.onnxruntime}];
  std::vector<std::string> result;
  for (const auto& [key, count] : groups)
    result.push_back(fmt::format("{} {}: TensorRT: {}; ONNX Runtime: {}", count, text_of(std::get<0>(key)),
                                 std::get<1>(key), std::get<2>(key)));
  return result;
}

LintReport lint(const Model& model) {
  return Linter(model).run();
}

void require_no_orphan(const LintReport& report) {
  for (const PairReport& pair : report.pairs)
    if (pair.fate == PairFate::kOrphan)
      fail("[onnx lint] {} is a Q/DQ pair that nothing can use: {}", pair.name, pair.tensorrt);
}

}  // namespace qdqbert::onnx
