#include "qdqbert/engine/passes/shape_rules.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

namespace qdqbert::engine {

namespace {

using Facts = std::vector<const Fact*>;

const Shape* shape_of(const Facts& inputs, size_t i) {
  return i < inputs.size() && inputs[i] && inputs[i]->shape ? &*inputs[i]->shape : nullptr;
}

std::optional<std::vector<int64_t>> contents_of(const Facts& inputs, size_t i) {
  if (i >= inputs.size() || !inputs[i] || !inputs[i]->contents) return std::nullopt;
  const Tensor& tensor = *inputs[i]->contents;
  if (tensor.dtype != DType::kI64 && tensor.dtype != DType::kI32) return std::nullopt;
  return to_int64(tensor.view());
}

int64_t positive_axis(int64_t axis, size_t rank) {
  return axis < 0 ? axis + static_cast<int64_t>(rank) : axis;
}

std::optional<Shape> broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t left = i < a.size() ? a[a.size() - 1 - i] : 1,
                  right = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (left != right && left != 1 && right != 1) return std::nullopt;
    out[out.size() - 1 - i] = left == 1 ? right : left;
  }
  return out;
}

std::optional<Shape> broadcast_all(const Facts& inputs) {
  std::optional<Shape> out = Shape{};
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Shape* shape = shape_of(inputs, i);
    if (!shape) return std::nullopt;
    if (!(out = broadcast(*out, *shape))) return std::nullopt;
  }
  return out;
}

std::optional<Shape> matmul(const Facts& inputs) {
  const Shape *a = shape_of(inputs, 0), *b = shape_of(inputs, 1);
  if (!a || !b || a->size() < 2 || b->size() < 2 || a->back() != (*b)[b->size() - 2]) return std::nullopt;
  auto out = broadcast(Shape(a->begin(), a->end() - 2), Shape(b->begin(), b->end() - 2));
  if (!out) return std::nullopt;
  out->push_back((*a)[a->size() - 2]);
  out->push_back(b->back());
  return out;
}

std::optional<Shape> transpose(const Node& node, const Facts& inputs) {
  const Shape* in = shape_of(inputs, 0);
  if (!in) return std::nullopt;
  std::vector<int64_t> order = node.integers("perm", {});
  if (order.empty())
    for (size_t i = in->size(); i-- > 0;) order.push_back(static_cast<int64_t>(i));
  if (order.size() != in->size()) return std::nullopt;
  Shape out;
  for (const int64_t axis : order) {
    if (axis < 0 || axis >= static_cast<int64_t>(in->size())) return std::nullopt;
    out.push_back((*in)[static_cast<size_t>(axis)]);
  }
  return out;
}

std::optional<Shape> reshape(const Node& node, const Facts& inputs) {
  const Shape* in = shape_of(inputs, 0);
  auto target = contents_of(inputs, 1);
  if (!in || !target) return std::nullopt;
  int64_t known = 1, open = -1;
  for (size_t i = 0; i < target->size(); ++i) {
    int64_t& size = (*target)[i];
    if (size == 0 && node.integer("allowzero", 0) == 0) {
      if (i >= in->size()) return std::nullopt;
      size = (*in)[i];
    }
    if (size == -1)
      open = static_cast<int64_t>(i);
    else if (size < 0 || size > 1 << 24)
      return std::nullopt;
    else
      known *= size;
    if (known > int64_t{1} << 40) return std::nullopt;
  }
  const int64_t total = element_count(*in);
  if (open >= 0) {
    if (known == 0 || total % known != 0) return std::nullopt;
    (*target)[static_cast<size_t>(open)] = total / known;
  } else if (known != total) {
    return std::nullopt;
  }
  return *target;
}

std::optional<Shape> gather(const Node& node, const Facts& inputs) {
  const Shape *table = shape_of(inputs, 0), *indices = shape_of(inputs, 1);
  if (!table || !indices) return std::nullopt;
  const int64_t axis = positive_axis(node.integer("axis", 0), table->size());
  if (axis < 0 || axis >= static_cast<int64_t>(table->size())) return std::nullopt;
  Shape out(table->begin(), table->begin() + axis);
  out.insert(out.end(), indices->begin(), indices->end());
  out.insert(out.end(), table->begin() + axis + 1, table->end());
  return out;
}

/// Axes of Squeeze, Unsqueeze and reductions: an input where the operator has one, else the attribute.
std::optional<std::vector<int64_t>> axes_of(const Node& node, const Facts& inputs) {
  if (inputs.size() > 1 && inputs[1]) return contents_of(inputs, 1);
  return node.integers("axes", {});
}

std::optional<Shape> unsqueeze(const Node& node, const Facts& inputs) {
  const Shape* in = shape_of(inputs, 0);
  const auto axes = axes_of(node, inputs);
  if (!in || !axes) return std::nullopt;
  const size_t rank = in->size() + axes->size();
  std::vector<bool> added(rank, false);
  for (const int64_t given : *axes) {
    const int64_t axis = positive_axis(given, rank);
    if (axis < 0 || axis >= static_cast<int64_t>(rank)) return std::nullopt;
    added[static_cast<size_t>(axis)] = true;
  }
  if (static_cast<size_t>(std::count(added.begin(), added.end(), true)) != axes->size()) return std::nullopt;
  Shape out;
  for (size_t i = 0, from = 0; i < rank; ++i) out.push_back(added[i] ? 1 : (*in)[from++]);
  return out;
}

std::optional<Shape> squeeze_or_reduce(const Node& node, const Facts& inputs, bool keep) {
  const Shape* in = shape_of(inputs, 0);
  const auto axes = axes_of(node, inputs);
  if (!in || !axes) return std::nullopt;
  std::vector<bool> taken(in->size(), false);
  // Without axes a reduction is over all of them, and those of size 1 are squeezed.
  for (size_t i = 0; axes->empty() && i < in->size(); ++i) taken[i] = node.op != "Squeeze" || (*in)[i] == 1;
  for (const int64_t given : *axes) {
    const int64_t axis = positive_axis(given, in->size());
    if (axis < 0 || axis >= static_cast<int64_t>(in->size())) return std::nullopt;
    taken[static_cast<size_t>(axis)] = true;
  }
  Shape out;
  for (size_t i = 0; i < in->size(); ++i) {
    if (!taken[i])
      out.push_back((*in)[i]);
    else if (keep)
      out.push_back(1);
  }
  return out;
}

std::vector<std::optional<Shape>> split(const Node& node, const Facts& inputs) {
  std::vector<std::optional<Shape>> out(node.outputs.size());
  const Shape* in = shape_of(inputs, 0);
  if (!in) return out;
  const int64_t axis = positive_axis(node.integer("axis", 0), in->size());
  if (axis < 0 || axis >= static_cast<int64_t>(in->size())) return out;
  const int64_t whole = (*in)[static_cast<size_t>(axis)];
  std::vector<int64_t> sizes = node.integers("split", {});
  if (const auto given = contents_of(inputs, 1)) sizes = *given;
  if (sizes.empty()) sizes.assign(out.size(), whole / static_cast<int64_t>(out.size()));
  for (size_t i = 0; i < out.size() && i < sizes.size(); ++i) {
    out[i] = *in;
    (*out[i])[static_cast<size_t>(axis)] = sizes[i];
  }
  return out;
}

std::optional<Shape> slice(const Facts& inputs) {
  const Shape* in = shape_of(inputs, 0);
  const auto starts = contents_of(inputs, 1), ends = contents_of(inputs, 2);
  if (!in || !starts || !ends || starts->size() != ends->size()) return std::nullopt;
  std::vector<int64_t> axes(starts->size()), steps(starts->size(), 1);
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  if (inputs.size() > 3 && inputs[3]) {
    const auto given = contents_of(inputs, 3);
    if (!given || given->size() != axes.size()) return std::nullopt;
    axes = *given;
  }
  if (inputs.size() > 4 && inputs[4]) {
    const auto given = contents_of(inputs, 4);
    if (!given || given->size() != axes.size()) return std::nullopt;
    steps = *given;
  }
  Shape out = *in;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = positive_axis(axes[i], in->size());
    if (axis < 0 || axis >= static_cast<int64_t>(in->size()) || steps[i] != 1) return std::nullopt;
    const int64_t size = (*in)[static_cast<size_t>(axis)];
    const auto clamped = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size); };
    out[static_cast<size_t>(axis)] = std::max<int64_t>(0, clamped((*ends)[i]) - clamped((*starts)[i]));
  }
  return out;
}

std::optional<Shape> concat(const Node& node, const Facts& inputs) {
  const Shape* first = shape_of(inputs, 0);
  if (!first) return std::nullopt;
  const int64_t axis = positive_axis(node.integer("axis", 0), first->size());
  if (axis < 0 || axis >= static_cast<int64_t>(first->size())) return std::nullopt;
  Shape out = *first;
  for (size_t i = 1; i < inputs.size(); ++i) {
    const Shape* shape = shape_of(inputs, i);
    if (!shape || shape->size() != out.size()) return std::nullopt;
    out[static_cast<size_t>(axis)] += (*shape)[static_cast<size_t>(axis)];
  }
  return out;
}

std::optional<Shape> linear(const Node& node, const Facts& inputs) {
  const Shape *x = shape_of(inputs, 0), *weight = shape_of(inputs, 1);
  if (!x || x->empty() || !weight || weight->size() != 2) return std::nullopt;
  const bool transposed = node.integer("transposed", 0) != 0;
  if (x->back() != (*weight)[transposed ? 1 : 0]) return std::nullopt;
  Shape out = *x;
  out.back() = (*weight)[transposed ? 0 : 1];
  return out;
}

std::optional<Shape> embeddings(const Facts& inputs) {
  const Shape *ids = shape_of(inputs, 0), *words = shape_of(inputs, 2);
  if (!ids || ids->empty() || !words || words->size() != 2) return std::nullopt;
  // Leading axes of the ids are texts, whatever the file makes of them.
  return Shape{element_count(*ids) / std::max<int64_t>(ids->back(), 1), ids->back(), words->back()};
}

constexpr std::array kSameShape = {std::string_view("QuantizeLinear"),
                                   std::string_view("DequantizeLinear"),
                                   std::string_view("LayerNormalization"),
                                   std::string_view("Softmax"),
                                   std::string_view("LogSoftmax"),
                                   std::string_view("Hardmax"),
                                   std::string_view("Cast"),
                                   std::string_view("Gelu"),
                                   std::string_view("IsNaN"),
                                   std::string_view("Attention"),
                                   std::string_view("RMSNormalization"),
                                   std::string_view("com.microsoft.Attention"),
                                   std::string_view("com.microsoft.BiasGelu"),
                                   std::string_view("com.microsoft.FastGelu"),
                                   std::string_view("com.microsoft.Gelu"),
                                   std::string_view("com.microsoft.LayerNormalization"),
                                   std::string_view("com.microsoft.MultiHeadAttention"),
                                   std::string_view("com.microsoft.QuickGelu"),
                                   std::string_view("com.microsoft.SkipLayerNormalization"),
                                   std::string_view("Erf"),
                                   std::string_view("Sqrt"),
                                   std::string_view("Tanh"),
                                   std::string_view("Relu"),
                                   std::string_view("Sigmoid"),
                                   std::string_view("Exp"),
                                   std::string_view("Neg"),
                                   std::string_view("LeakyRelu"),
                                   std::string_view("Softplus"),
                                   std::string_view("Identity"),
                                   std::string_view("Dropout"),
                                   std::string_view("Clip"),
                                   std::string_view("qdqbert.FakeQuantize"),
                                   std::string_view("qdqbert.Activation"),
                                   std::string_view("qdqbert.Attention"),
                                   std::string_view("qdqbert.ResidualNorm"),
                                   std::string_view("qdqbert.WantedRows")};
constexpr std::array kBroadcast = {std::string_view("Add"), std::string_view("Sub"),  std::string_view("Mul"),
                                   std::string_view("Div"), std::string_view("Pow"),  std::string_view("Min"),
                                   std::string_view("Max"), std::string_view("Where")};

/// Without the ellipsis: sizes by letter.
std::optional<Shape> einsum(const Node& node, const Facts& inputs) {
  std::string equation = node.text("equation", "");
  equation.erase(std::remove(equation.begin(), equation.end(), ' '), equation.end());
  const size_t arrow = equation.find("->");
  if (arrow == std::string::npos || equation.find('.') != std::string::npos) return std::nullopt;
  std::map<char, int64_t> sizes;
  size_t at = 0;
  for (size_t i = 0; i < inputs.size(); ++i, ++at) {
    const Shape* shape = shape_of(inputs, i);
    if (!shape) return std::nullopt;
    for (const int64_t size : *shape) {
      if (at >= arrow || equation[at] == ',') return std::nullopt;
      int64_t& known = sizes.try_emplace(equation[at++], size).first->second;
      if (known != size && known != 1 && size != 1) return std::nullopt;
      known = std::max(known, size);
    }
    if (at != arrow && equation[at] != ',') return std::nullopt;
  }
  Shape out;
  for (const char letter : equation.substr(arrow + 2)) {
    if (!sizes.contains(letter)) return std::nullopt;
    out.push_back(sizes[letter]);
  }
  return out;
}

std::optional<Shape> copy_of(const Shape* shape) {
  return shape ? std::optional(*shape) : std::nullopt;
}

}  // namespace

std::vector<std::optional<Shape>> output_shapes(const Node& node, const std::vector<const Fact*>& inputs) {
  const std::string& op = node.op;
  const auto is_in = [&](const auto& list) { return std::find(list.begin(), list.end(), op) != list.end(); };
  if (is_in(kSameShape)) return {copy_of(shape_of(inputs, 0))};
  if (is_in(kBroadcast)) return {broadcast_all(inputs)};
  if (op == "MatMul") return {matmul(inputs)};
  if (op == "Einsum") return {einsum(node, inputs)};
  if (op == "Transpose") return {transpose(node, inputs)};
  if (op == "Reshape") return {reshape(node, inputs)};
  if (op == "Gather") return {gather(node, inputs)};
  if (op == "Unsqueeze") return {unsqueeze(node, inputs)};
  if (op == "Squeeze") return {squeeze_or_reduce(node, inputs, false)};
  if (op == "ReduceMean") return {squeeze_or_reduce(node, inputs, node.integer("keepdims", 1) != 0)};
  if (op == "Split") return split(node, inputs);
  if (op == "Slice") return {slice(inputs)};
  if (op == "Concat") return {concat(node, inputs)};
  if (op == "qdqbert.Embeddings") return {embeddings(inputs)};
  if (op == "com.microsoft.EmbedLayerNormalization") return {embeddings(inputs)};
  if (op == "qdqbert.Linear" || op == "qdqbert.QuantizedLinear") return {linear(node, inputs)};
  return {};
}

}  // namespace qdqbert::engine
