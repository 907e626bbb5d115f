#include "qdqbert/onnx/lint.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "qdqbert/base/error.h"
#include "qdqbert/onnx/lint_products.h"
#include "qdqbert/onnx/quantized_graph.h"

namespace qdqbert::onnx {
namespace {

/// Of operators that hold codes and that no TensorRT imports.
bool is_unknown_to_tensorrt(const std::string& op) {
  return op.starts_with("QLinear") || op == "MatMulInteger" || op == "ConvInteger" ||
         op == "DynamicQuantizeLinear";
}

class Linter {
 public:
  explicit Linter(const Model& model) : model_(model), graph_(model), products_(graph_, model) {}

  LintReport run() {
    // Of all nodes first: a pair is refused because of either of its nodes.
    for (const Node& node : model_.proto().graph().node()) find_refusals(node);
    for (const Node& node : model_.proto().graph().node()) {
      if (node.op_type() == "QuantizeLinear") report_.pairs.push_back(judge_pair(node));
      if (node.op_type() == "DequantizeLinear" && !is_quantized(input_of(node, 0)))
        report_.pairs.push_back(judge_codes(node));
      if (ProductJudge::is_product(node)) add_product(node);
    }
    return std::move(report_);
  }

 private:
  static std::string name_of(const Node& node) { return node.name().substr(0, node.name().rfind('/')); }
  static PairReport orphan(const Node& node, const std::string& tensorrt, const std::string& onnxruntime) {
    return {name_of(node), PairFate::kOrphan, tensorrt, onnxruntime};
  }
  static PairReport orphan(const Node& node, const std::string& why) { return orphan(node, why, why); }

  bool is_quantized(const std::string& codes) const {
    return QuantizedGraph::is_op(graph_.index().producer(codes), "QuantizeLinear");
  }

  void refuse(const Node& node, const std::string& why) {
    report_.tensorrt_refusals.push_back(fmt::format("{}: {}", node.name(), why));
    refused_.insert(&node);
  }

  void find_refusals(const Node& node) {
    const bool repeated = !node.name().empty() && !names_.insert(node.name()).second;
    if (repeated) report_.onnxruntime_refusals.push_back(node.name() + ": two nodes have this name");
    if (is_unknown_to_tensorrt(node.op_type())) refuse(node, "it has no operator " + node.op_type());
    if (node.op_type() != "QuantizeLinear" && node.op_type() != "DequantizeLinear") return;
    if (repeated) refuse(node, "two nodes have this name");
    const GraphIndex& index = graph_.index();
    const auto zero = index.constant(input_of(node, 2));
    if (zero &&
        std::any_of(zero->data.begin(), zero->data.end(), [](std::byte b) { return b != std::byte{0}; }))
      return refuse(node, "its zero point is not 0");
    if (zero && zero->dtype != DType::kI8 && zero->dtype != DType::kU8)
      return refuse(node, fmt::format("its codes are {}", qdqbert::name_of(zero->dtype)));
    if (node.op_type() != "DequantizeLinear") return;
    const auto codes = index.constant(input_of(node, 0));
    if (!codes) return;
    if (codes->dtype != DType::kI8 && codes->dtype != DType::kU8)
      return refuse(node, fmt::format("its codes are {}", qdqbert::name_of(codes->dtype)));
    if (codes->shape.empty()) refuse(node, "its codes are a single number");
  }

  /// What holds for both; empty when the node keeps it.
  std::string broken_rule(const Node& node) const {
    if (node.input_size() < 2) return "it has no scale";
    if (const auto scale = graph_.index().constant(input_of(node, 1)))
      for (float value : to_float32(*scale))
        if (!(value > 0) || !std::isfinite(value)) return fmt::format("its scale {} is not positive", value);
    return {};
  }

  PairReport judge_pair(const Node& q) {
    if (const std::string why = broken_rule(q); !why.empty()) return orphan(q, why);
    const auto& readers = graph_.index().consumers(output_of(q));
    if (readers.empty()) return orphan(q, "nothing dequantizes it");
    std::vector<const Node*> dequantizers;
    for (const Node* reader : readers)
      if (reader->op_type() == "DequantizeLinear") dequantizers.push_back(reader);
    if (dequantizers.empty()) return orphan(q, readers[0]->op_type() + " reads the codes");
    PairReport best = judge_uses(q, *dequantizers[0]);
    for (const Node* dq : dequantizers)
      if (PairReport one = judge_uses(q, *dq); one.fate < best.fate) best = std::move(one);
    const bool refused =
        refused_.contains(&q) || std::any_of(dequantizers.begin(), dequantizers.end(),
                                             [&](const Node* dq) { return refused_.contains(dq); });
    return with_code_type(q, refused, std::move(best));
  }

  /// A DequantizeLinear of codes that no Q makes: an INT8 weight.
  PairReport judge_codes(const Node& dq) {
    if (!graph_.is_constant(input_of(dq, 0))) return orphan(dq, "its input is not quantized");
    if (const std::string why = broken_rule(dq); !why.empty()) return orphan(dq, why);
    return with_code_type(dq, refused_.contains(&dq), judge_uses(dq, dq));
  }

  /// Adds what TensorRT makes of codes that are not signed.
  PairReport with_code_type(const Node& node, bool refused, PairReport report) const {
    if (refused) return {report.name, PairFate::kOrphan, "refuses the file", report.onnxruntime};
    const auto zero = graph_.index().constant(input_of(node, 2));
    if (zero && zero->dtype == DType::kU8)
      return {report.name, PairFate::kOrphan, "takes its unsigned codes as signed, with a warning only",
              report.onnxruntime + ", unsigned"};
    if (!zero && node.op_type() == "QuantizeLinear" &&
        integer_attribute(node, "output_dtype", 0) != ::onnx::TensorProto::INT8) {
      report.tensorrt += ", signed";
      report.onnxruntime += ", unsigned for want of a zero point";
    }
    return report;
  }

  PairReport judge_uses(const Node& named, const Node& dq) const {
    const std::vector<Use> uses = graph_.users(output_of(dq));
    if (uses.empty()) return orphan(named, "nothing uses it");
    PairReport best = judge_use(uses[0]);
    for (const Use& use : uses)
      if (PairReport one = judge_use(use); one.fate < best.fate) best = std::move(one);
    best.name = name_of(named);
    return best;
  }

  PairReport judge_use(const Use& use) const {
    const std::string& op = use.node->op_type();
    if (ProductJudge::is_product(*use.node)) {
      if (use.position > 1) return {"", PairFate::kNotFused, "bias of a Gemm", "bias of a Gemm"};
      const ProductReport& product = products_.report(*use.node);
      const bool integer = product.kind != TensorRtProduct::kFloat || product.integer_in_onnxruntime;
      return {"", integer ? PairFate::kFused : PairFate::kNotFused, product.tensorrt, product.onnxruntime};
    }
    if (op == "Add") return judge_add(use);
    if (op == "Softmax" && graph_.quantizer_behind(*use.node) != nullptr)
      return {"", PairFate::kFused, "Softmax has no integer form; its kernel computes the pair",
              "QLinearSoftmax"};
    return {"", PairFate::kOrphan, op + " has no integer form; its kernel computes the pair",
            op + " has no integer form"};
  }

  PairReport judge_add(const Use& use) const {
    const Node& add = *use.node;
    const auto mine = graph_.dequantized(input_of(add, use.position)),
               other = graph_.dequantized(other_input_of(add, use.position));
    PairReport report;
    if (!other) {
      report.onnxruntime = "Add in float: its other term is not quantized";
    } else if (graph_.quantizer_behind(add) == nullptr) {
      report.onnxruntime = "Add in float: no Q behind it";
    } else if (!mine || mine->shared || other->shared) {
      report.onnxruntime = "Add in float: others read a DequantizeLinear of it or the codes";
    } else {
      report.onnxruntime = "QLinearAdd";
    }
    const bool own_product = mine && is_result_of_product(input_of(*mine->dq, 0));
    report.tensorrt = own_product
                          ? "nothing gained: the GEMM writes float, and Add's kernel computes the pair"
                          : "skip of Add read as INT8 by its kernel";
    report.fate = own_product && report.onnxruntime != "QLinearAdd" ? PairFate::kNotFused : PairFate::kFused;
    return report;
  }

  /// Whether these codes are those of a product, or of its sum with a bias.
  bool is_result_of_product(const std::string& codes) const {
    const GraphIndex& index = graph_.index();
    const Node* node = index.producer(codes);
    if (!QuantizedGraph::is_op(node, "QuantizeLinear")) return false;
    node = index.producer(input_of(*node, 0));
    if (QuantizedGraph::is_op(node, "Add")) {
      const int bias = graph_.is_constant(input_of(*node, 0)) ? 0 : 1;
      if (!graph_.is_constant(input_of(*node, bias))) return false;
      node = index.producer(other_input_of(*node, bias));
    }
    return node != nullptr && ProductJudge::is_product(*node);
  }

  void add_product(const Node& node) {
    if (!graph_.dequantized(input_of(node, 0)) && !graph_.dequantized(input_of(node, 1))) return;
    report_.products.push_back(products_.report(node));
  }

  const Model& model_;
  const QuantizedGraph graph_;
  const ProductJudge products_;
  std::set<std::string> names_;
  std::set<const Node*> refused_;
  LintReport report_;
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
  for (const std::string& refusal : tensorrt_refusals)
    result.push_back("TensorRT refuses the file: " + refusal);
  for (const std::string& refusal : onnxruntime_refusals)
    result.push_back("ONNX Runtime refuses the file: " + refusal);
  for (const auto& [key, count] : groups)
    result.push_back(fmt::format("{} {}: TensorRT: {}; ONNX Runtime: {}", count, text_of(std::get<0>(key)),
                                 std::get<1>(key), std::get<2>(key)));
  return result;
}

LintReport lint(const Model& model) {
  return Linter(model).run();
}

void require_no_orphan(const LintReport& report) {
  if (!report.tensorrt_refusals.empty())
    fail("[onnx lint] TensorRT would refuse the file: {}", report.tensorrt_refusals[0]);
  for (const PairReport& pair : report.pairs)
    if (pair.fate == PairFate::kOrphan)
      fail("[onnx lint] {} is a Q/DQ pair that nothing can use: {}", pair.name, pair.tensorrt);
}

}  // namespace qdqbert::onnx
