#include "qdqbert/engine/passes/mask_dependence.h"

#include <algorithm>
#include <set>
#include <string_view>

namespace qdqbert::engine {

namespace {

using Kind = MaskDependence::Kind;

bool is_elementwise(const std::string& op) {
  static const std::set<std::string_view> known = {
      "Abs",      "Add",   "And",   "Cast",  "Ceil",        "Clip",
      "Div",      "Equal", "Exp",   "Floor", "Greater",     "GreaterOrEqual",
      "Identity", "IsInf", "IsNaN", "Less",  "LessOrEqual", "Max",
      "Min",      "Mul",   "Neg",   "Not",   "Or",          "Pow",
      "Sub",      "Where", "Xor"};
  return known.contains(op);
}

class Walk {
 public:
  Walk(const Graph& graph, const Probe& run) : graph_(graph), run_(run), found_(graph.values.size()) {
    for (const ValueId id : graph.inputs) {
      const auto& shape = run.facts[id].shape;
      if (graph.values[id].name.find("mask") == std::string::npos || !shape) continue;
      found_[id] = {Kind::kKey, -static_cast<int64_t>(shape->size()), -1, id};
    }
    for (const Node& node : graph.nodes) {
      const MaskDependence of_node = visit(node);
      for (const ValueId id : node.outputs)
        if (id != kNoValue) found_[id] = of_node;
    }
  }
  std::vector<MaskDependence> take() { return std::move(found_); }

 private:
  static constexpr MaskDependence kAny = {Kind::kAny, 0, 0, kNoValue};

  bool has_contents(ValueId id) const { return run_.facts[id].contents.has_value(); }
  const Shape* shape_of(ValueId id) const {
    return id != kNoValue && run_.facts[id].shape ? &*run_.facts[id].shape : nullptr;
  }

  MaskDependence visit(const Node& node) const {
    const bool computed =
        !node.outputs.empty() && node.outputs[0] != kNoValue && has_contents(node.outputs[0]);
    if (node.op == "Shape" || node.op == "Size" || (!computed && is_elementwise(node.op))) {
      // Sizes alone are passed on.
      for (const ValueId id : node.inputs)
        if (id != kNoValue && found_[id].kind == Kind::kAny) return kAny;
      return {};
    }
    if (computed && is_elementwise(node.op)) return combined(node);
    bool depends = false, of_first_only = true;
    for (size_t i = 0; i < node.inputs.size(); ++i)
      if (node.inputs[i] != kNoValue && found_[node.inputs[i]].kind != Kind::kNone) {
        depends = true;
        of_first_only = of_first_only && i == 0;
      }
    if (!depends) return {};
    if (!computed || !of_first_only || found_[node.inputs[0]].kind == Kind::kAny) return kAny;
    return moved(node, found_[node.inputs[0]]);
  }

  MaskDependence combined(const Node& node) const {
    MaskDependence all;
    for (const ValueId id : node.inputs) {
      if (id == kNoValue || found_[id].kind == Kind::kNone) continue;
      if (all.kind != Kind::kNone && found_[id] != all) return kAny;
      all = found_[id];
    }
    return all;
  }

  /// Where the axes of a value go that only changes its shape.
  MaskDependence moved(const Node& node, MaskDependence from) const {
    const Shape *in = shape_of(node.inputs[0]), *out = shape_of(node.outputs[0]);
    if (!in || !out) return kAny;
    if (node.op == "Expand") return from;
    const auto rank = static_cast<int64_t>(in->size()), out_rank = static_cast<int64_t>(out->size());
    if (node.op == "Unsqueeze" || node.op == "Squeeze") {
      const auto axes = axes_of(node);
      if (!axes) return kAny;
      const bool adds = node.op == "Unsqueeze";
      std::vector<bool> single(static_cast<size_t>(adds ? out_rank : rank), false);
      for (const int64_t axis : *axes) {
        const int64_t at = axis < 0 ? axis + static_cast<int64_t>(single.size()) : axis;
        if (at < 0 || at >= static_cast<int64_t>(single.size())) return kAny;
        single[static_cast<size_t>(at)] = true;
      }
      std::vector<int64_t> places;  // of the axes that both have, in the longer shape
      for (size_t d = 0; d < single.size(); ++d)
        if (!single[d]) places.push_back(static_cast<int64_t>(d));
      return adds ? renamed(
                        from,
                        [&](int64_t axis) { return places.at(static_cast<size_t>(axis + rank)) - out_rank; })
                  : renamed(from, [&](int64_t axis) { return place_of(places, axis + rank) - out_rank; });
    }
    if (node.op == "Transpose") {
      const std::vector<int64_t> order = node.integers("perm", {});
      if (order.size() != in->size()) return kAny;
      return renamed(from, [&](int64_t axis) { return place_of(order, axis + rank) - rank; });
    }
    // [texts, choices, S] as [B, S].
    if (node.op == "Reshape" && from.text == -3 && from.key == -1 && *out == Shape{run_.batch, run_.length})
      return {Kind::kKey, -2, -1, from.mask};
    return kAny;
  }

  /// Not among them: far outside, which no axis is.
  static int64_t place_of(const std::vector<int64_t>& places, int64_t axis) {
    const auto found = std::find(places.begin(), places.end(), axis);
    return found == places.end() ? int64_t{1} << 20 : found - places.begin();
  }

  template <class Rename>
  static MaskDependence renamed(const MaskDependence& from, const Rename& rename) {
    const MaskDependence to = {Kind::kKey, rename(from.text), rename(from.key), from.mask};
    return to.text < 0 && to.key < 0 ? to : kAny;
  }

  std::optional<std::vector<int64_t>> axes_of(const Node& node) const {
    if (node.inputs.size() < 2 || node.inputs[1] == kNoValue) return node.integers("axes", {});
    const Value& axes = graph_.values[node.inputs[1]];
    if (!axes.constant || axes.constant->dtype != DType::kI64) return std::nullopt;
    return to_int64(axes.constant->view());
  }

  const Graph& graph_;
  const Probe& run_;
  std::vector<MaskDependence> found_;
};

}  // namespace

std::vector<MaskDependence> mask_dependence(const Graph& graph, const Probe& run) {
  return Walk(graph, run).take();
}

}  // namespace qdqbert::engine
