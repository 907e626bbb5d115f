#include "qdqbert/onnx/activation_graph.h"

#include <cmath>
#include <numbers>

namespace qdqbert::onnx {
namespace {

/// The arithmetic of one scope and type, so that formulas read as formulas.
struct Terms {
  GraphBuilder& graph;
  const std::string& scope;
  DType dtype;

  Value number(double value) const { return graph.scalar(static_cast<float>(value), dtype); }
  Value op(std::string_view name, const std::vector<Value>& inputs) const {
    return graph.node(name, scope, inputs);
  }
  Value mul(const Value& a, const Value& b) const { return op("Mul", {a, b}); }
  Value mul(const Value& a, double b) const { return mul(a, number(b)); }
  Value add(const Value& a, double b) const { return op("Add", {a, number(b)}); }
};

Value gelu(const Terms& t, const Value& x) {
  const Value erf = t.op("Erf", {t.op("Div", {x, t.number(std::numbers::sqrt2)})});
  return t.mul(t.mul(x, t.add(erf, 1.0)), 0.5);
}

Value gelu_tanh(const Terms& t, const Value& x) {
  const Value cubic = t.mul(t.op("Pow", {x, t.number(3.0)}), 0.044715);
  const Value inner = t.mul(t.op("Add", {x, cubic}), std::sqrt(2.0 / std::numbers::pi));
  return t.mul(t.mul(x, 0.5), t.add(t.op("Tanh", {inner}), 1.0));
}

Value gelu_fast(const Terms& t, const Value& x) {
  const Value square = t.mul(t.mul(x, 0.044715), x);
  const Value inner = t.mul(t.mul(x, 0.7978845608), t.add(square, 1.0));
  return t.mul(t.mul(x, 0.5), t.add(t.op("Tanh", {inner}), 1.0));
}

Value laplace(const Terms& t, const Value& x) {
  const Value standard =
      t.op("Div", {t.op("Sub", {x, t.number(0.707107)}), t.number(0.282095 * std::numbers::sqrt2)});
  return t.mul(t.add(t.op("Erf", {standard}), 1.0), 0.5);
}

Value clip(const Terms& t, const Value& x, double low, double high) {
  return t.op("Clip", {x, t.number(low), t.number(high)});
}

}  // namespace

Value apply_activation(GraphBuilder& graph, ActivationGraph activation, const std::string& scope,
                       const Value& x, DType dtype) {
  using enum ActivationGraph;
  const Terms t{graph, scope, dtype};
  switch (activation) {
    case kGelu:
      return gelu(t, x);
    case kGelu10:
      return clip(t, gelu(t, x), -10.0, 10.0);
    case kGeluTanh:
      return gelu_tanh(t, x);
    case kGeluFast:
      return gelu_fast(t, x);
    case kLaplace:
      return laplace(t, x);
    case kLeakyRelu:
      return graph.node("LeakyRelu", scope, {x}, {{"alpha", 0.01f}});
    case kLinear:
      return x;
    case kMish:
      return t.mul(x, t.op("Tanh", {t.op("Softplus", {x})}));
    case kQuickGelu:
      return t.mul(x, t.op("Sigmoid", {t.mul(x, 1.702)}));
    case kRelu:
      return t.op("Relu", {x});
    case kRelu2: {
      const Value positive = t.op("Relu", {x});
      return t.mul(positive, positive);
    }
    case kRelu6:
      return clip(t, x, 0.0, 6.0);
    case kSigmoid:
      return t.op("Sigmoid", {x});
    case kSilu:
      return t.mul(x, t.op("Sigmoid", {x}));
    case kTanh:
      return t.op("Tanh", {x});
  }
  return x;
}

}  // namespace qdqbert::onnx
