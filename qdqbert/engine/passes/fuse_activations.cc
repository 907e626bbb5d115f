#include <limits>

#include "qdqbert/engine/passes/match.h"
#include "qdqbert/engine/passes/passes.h"

namespace qdqbert::engine {

namespace {

/// A product taken apart: constants multiplied together, the rest listed.
struct Product {
  double constant = 1;
  std::vector<ValueId> factors;
};

void take_apart(const Match& match, ValueId id, bool is_root, Product& product) {
  if (const auto value = match.scalar(id)) {
    product.constant *= *value;
    return;
  }
  const bool may_open = is_root || match.is_private(id);
  if (const Node* mul = may_open ? match.producer(id, {"Mul"}) : nullptr) {
    take_apart(match, mul->inputs[0], false, product);
    take_apart(match, mul->inputs[1], false, product);
    return;
  }
  if (const Node* div = may_open ? match.producer(id, {"Div"}) : nullptr) {
    if (const auto divisor = match.scalar(div->inputs[1])) {
      product.constant /= *divisor;
      take_apart(match, div->inputs[0], false, product);
      return;
    }
  }
  product.factors.push_back(id);
}

Product product_of(const Match& match, ValueId id) {
  Product product;
  take_apart(match, id, true, product);
  return product;
}

bool near(double a, double b) {
  return std::fabs(a - b) <= 1e-3 * std::fabs(b);
}

/// The other operand of `id` = operand + 1.
std::optional<ValueId> one_plus(const Match& match, ValueId id) {
  const Node* add = match.producer(id, {"Add"});
  if (!add) return std::nullopt;
  const auto parts = Match::split(*add, [&](ValueId other) { return match.is_scalar_near(other, 1.0); });
  return parts ? std::optional(parts->first) : std::nullopt;
}

/// Whether `id` is 0.044715 x^3.
bool is_cubic(const Match& match, ValueId id, ValueId x) {
  const Product product = product_of(match, id);
  if (!near(product.constant, 0.044715)) return false;
  if (product.factors == std::vector<ValueId>{x, x, x}) return true;
  if (product.factors.size() != 1) return false;
  const Node* pow = match.producer(product.factors[0], {"Pow"});
  return pow && pow->inputs[0] == x && match.is_scalar_near(pow->inputs[1], 3.0);
}

/// Whether `id` is sqrt(2 / pi) (x + 0.044715 x^3), also as a product with 1 + 0.044715 x^2.
bool is_tanh_argument(const Match& match, ValueId id, ValueId x) {
  const Product product = product_of(match, id);
  if (!near(product.constant, 0.7978845608)) return false;
  if (product.factors.size() == 1) {
    const Node* sum = match.producer(product.factors[0], {"Add"});
    if (!sum) return false;
    return (sum->inputs[0] == x && is_cubic(match, sum->inputs[1], x)) ||
           (sum->inputs[1] == x && is_cubic(match, sum->inputs[0], x));
  }
  if (product.factors.size() != 2) return false;
  for (size_t i = 0; i < 2; ++i) {
    if (product.factors[i] != x) continue;
    const auto square = one_plus(match, product.factors[1 - i]);
    if (!square) continue;
    const Product inner = product_of(match, *square);
    const Node* pow = inner.factors.size() == 1 ? match.producer(inner.factors[0], {"Pow"}) : nullptr;
    const bool is_square = inner.factors == std::vector<ValueId>{x, x} ||
                           (pow && pow->inputs[0] == x && match.is_scalar_near(pow->inputs[1], 2.0));
    if (near(inner.constant, 0.044715) && is_square) return true;
  }
  return false;
}

struct Found {
  ValueId x;
  const char* kind;
};

/// The x of (x - 0.707107) / (0.282095 sqrt(2)).
std::optional<ValueId> laplace_operand(const Match& match, ValueId id) {
  const Product product = product_of(match, id);
  if (product.factors.size() != 1 || !near(product.constant, 1.0 / (0.282095 * 1.41421356)))
    return std::nullopt;
  const Node* sub = match.producer(product.factors[0], {"Sub"});
  if (!sub || !match.is_scalar_near(sub->inputs[1], 0.707107)) return std::nullopt;
  return sub->inputs[0];
}

std::optional<Found> activation_of_product(const Match& match, const Node& node) {
  const Product product = product_of(match, node.outputs[0]);
  if (product.factors.size() == 1 && near(product.constant, 0.5)) {
    const auto inner = one_plus(match, product.factors[0]);
    const Node* erf = inner ? match.producer(*inner, {"Erf"}) : nullptr;
    if (const auto x = erf ? laplace_operand(match, erf->inputs[0]) : std::nullopt)
      return Found{*x, "laplace"};
  }
  if (product.factors.size() != 2) return std::nullopt;
  if (product.factors[0] == product.factors[1] && near(product.constant, 1.0))
    if (const Node* relu = match.producer(product.factors[0], {"Relu"}))
      return Found{relu->inputs[0], "relu2"};
  for (size_t i = 0; i < 2; ++i) {
    const ValueId x = product.factors[i], gate = product.factors[1 - i];
    if (const Node* sigmoid = match.producer(gate, {"Sigmoid"});
        sigmoid && sigmoid->inputs[0] == x && near(product.constant, 1.0))
      return Found{x, "silu"};
    if (const Node* sigmoid = match.producer(gate, {"Sigmoid"}); sigmoid && near(product.constant, 1.0)) {
      const Product argument = product_of(match, sigmoid->inputs[0]);
      if (argument.factors == std::vector<ValueId>{x} && near(argument.constant, 1.702))
        return Found{x, "quick_gelu"};
    }
    if (const Node* tanh = match.producer(gate, {"Tanh"}); tanh && near(product.constant, 1.0)) {
      const Node* softplus = match.producer(tanh->inputs[0], {"Softplus"});
      if (softplus && softplus->inputs[0] == x) return Found{x, "mish"};
    }
    const auto inner = one_plus(match, gate);
    if (!inner || !near(product.constant, 0.5)) continue;
    if (const Node* erf = match.producer(*inner, {"Erf"})) {
      const Product argument = product_of(match, erf->inputs[0]);
      if (argument.factors == std::vector<ValueId>{x} && near(argument.constant, 0.70710678))
        return Found{x, "gelu"};
    }
    if (const Node* tanh = match.producer(*inner, {"Tanh"}))
      if (is_tanh_argument(match, tanh->inputs[0], x)) return Found{x, "gelu_tanh"};
  }
  return std::nullopt;
}

std::optional<Found> activation_of(const Match& match, const Node& node) {
  if (node.op == "Mul") return activation_of_product(match, node);
  if (node.op == "Relu") return Found{node.inputs[0], "relu"};
  if (node.op == "Tanh") return Found{node.inputs[0], "tanh"};
  if (node.op == "Sigmoid") return Found{node.inputs[0], "sigmoid"};
  if (node.op == "LeakyRelu" && std::fabs(node.real("alpha", 0.01f) - 0.01f) < 1e-6f)
    return Found{node.inputs[0], "leaky_relu"};
  if (node.op == "com.microsoft.Gelu") return Found{node.inputs[0], "gelu"};
  if (node.op == "com.microsoft.FastGelu" && node.inputs.size() == 1)
    return Found{node.inputs[0], "gelu_tanh"};
  if (node.op == "Gelu")
    return Found{node.inputs[0], node.text("approximate", "none") == "tanh" ? "gelu_tanh" : "gelu"};
  return std::nullopt;
}

/// Clip from 0 to something above, as relu6 is written.
bool is_bounded_relu(const Match& match, const Node& node) {
  if (node.op != "Clip" || node.inputs.size() < 3 || node.inputs[1] == kNoValue) return false;
  const auto low = match.scalar(node.inputs[1]), high = match.scalar(node.inputs[2]);
  return low && high && *low == 0 && *high > 0;
}

/// gelu never goes below -0.17, so a lower bound under that is no bound.
constexpr float kGeluMinimum = -0.17f;

}  // namespace

void fuse_activations(Graph& graph) {
  {
    const Match match(graph);
    // The nodes of one formula are looked at before any is rewritten: a gelu's Tanh is part of it.
    std::vector<std::pair<size_t, Found>> found;
    for (size_t n = graph.nodes.size(); n-- > 0;)
      if (const auto activation = activation_of(match, graph.nodes[n])) found.emplace_back(n, *activation);
    std::vector<bool> inside(graph.values.size(), false);
    for (const auto& [n, activation] : found) {
      Node& node = graph.nodes[n];
      if (inside[node.outputs[0]]) continue;
      // Everything between x and the result belongs to the formula.
      std::vector<ValueId> open(node.inputs);
      while (!open.empty()) {
        const ValueId id = open.back();
        open.pop_back();
        if (id == kNoValue || id == activation.x || inside[id]) continue;
        const Node* producer = match.producer(
            id, {"Mul", "Div", "Add", "Sub", "Erf", "Tanh", "Pow", "Sigmoid", "Relu", "Softplus"});
        if (!producer) continue;
        inside[id] = true;
        open.insert(open.end(), producer->inputs.begin(), producer->inputs.end());
      }
      become(node, "qdqbert.Activation", {activation.x},
             {{"kind", std::string(activation.kind)}, {"clip", std::numeric_limits<float>::infinity()}});
    }
  }
  remove_unused(graph);
  const Match match(graph);
  for (Node& node : graph.nodes) {
    if (node.op != "Clip" && node.op != "Min") continue;
    const Node* activation = match.producer(node.inputs[0], {"qdqbert.Activation"});
    if (!activation && is_bounded_relu(match, node)) {
      become(node, "qdqbert.Activation", {node.inputs[0]},
             {{"kind", std::string("relu")}, {"clip", *match.scalar(node.inputs[2])}});
      continue;
    }
    if (!activation || !match.is_private(node.inputs[0])) continue;
    const std::string kind = activation->text("kind", "");
    const size_t high_input = node.op == "Clip" ? 2 : 1;
    if (node.op == "Min" && node.inputs.size() != 2) continue;
    if (node.inputs.size() <= high_input || (kind != "gelu" && kind != "gelu_tanh" && kind != "relu"))
      continue;
    const auto high = match.scalar(node.inputs[high_input]);
    if (!high) continue;
    if (node.op == "Clip" && node.inputs[1] != kNoValue) {
      const auto low = match.scalar(node.inputs[1]);
      if (!low || *low > (kind == "relu" ? 0.0f : kGeluMinimum)) continue;
    }
    become(node, "qdqbert.Activation", {activation->inputs[0]}, {{"kind", kind}, {"clip", *high}});
  }
  remove_unused(graph);
}

}  // namespace qdqbert::engine
