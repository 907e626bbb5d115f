#include "qdqbert/engine/plan/lowering.h"

namespace qdqbert::engine {

void Lowering::make_first_token(const Node& node) {
  const Home from = home(node, node.inputs[0]);
  const auto first_only = [&](ValueId id) {
    const Tensor* index = match_.constant(id);
    if (!index || index->dtype == DType::kF32) return false;
    const std::vector<int64_t> values = to_int64(index->view());
    return values.size() == 1 && values[0] == 0;
  };
  bool fits = from.rows == RowKind::kTokens && from.keeps_columns && first_only(node.inputs[1]);
  if (node.op == "Gather") fits = fits && node.integer("axis", 0) == 1;
  for (const Probe& run : probes_.runs) {
    const auto& in = run.facts[node.inputs[0]].shape;
    const auto& out = run.facts[node.outputs[0]].shape;
    fits = fits && in && out && in->size() == 3 && (*out)[0] == run.batch && out->back() == in->back() &&
           (out->size() == 2 || (out->size() == 3 && (*out)[1] == 1));
  }
  if (!fits) cannot(node, "takes something else than the first token of each text");
  auto step = std::make_unique<FirstTokenStep>(what(node, "first token"));
  step->input = floats_of(node, node.inputs[0]);
  step->columns = from.columns;
  step->output = *make_float_home(node.outputs[0], RowKind::kTexts, from.columns).floats;
  plan_->reads_first_token = true;
  add(std::move(step));
  add_quantizers(node, node.outputs[0], true);
}

void Lowering::make_wanted_rows(const Node& node) {
  const Home from = home(node, node.inputs[0]);
  if (from.rows != RowKind::kTokens || !from.keeps_columns)
    cannot(node, "its input has no row for each token");
  auto step = std::make_unique<WantedRowsStep>(what(node, "wanted tokens"));
  step->input = floats_of(node, node.inputs[0]);
  step->columns = from.columns;
  step->output = *make_float_home(node.outputs[0], RowKind::kWanted, from.columns).floats;
  add(std::move(step));
  add_quantizers(node, node.outputs[0], true);
}

void Lowering::make_split(const Node& node) {
  const Home from = home(node, node.inputs[0]);
  size_t column = 0;
  for (const ValueId id : node.outputs) {
    if (id == kNoValue) cannot(node, "leaves out a part");
    const auto& shape = probes_.runs[0].facts[id].shape;
    const auto& in = probes_.runs[0].facts[node.inputs[0]].shape;
    const int64_t axis = node.integer("axis", 0);
    if (!shape || !in || (axis != -1 && axis != static_cast<int64_t>(in->size()) - 1) || !from.keeps_columns)
      cannot(node, "splits another axis than the last");
    Home& made = homes_[id];
    made = from;
    made.flipped.clear();
    made.direct.clear();
    made.columns = static_cast<size_t>(shape->back());
    made.floats = floats_of(node, node.inputs[0]);
    made.floats->column += column;
    column += made.columns;
  }
}

void Lowering::make_squeeze(const Node& node) {
  Home from = home(node, node.inputs[0]);
  const auto& in = probes_.runs[0].facts[node.inputs[0]].shape;
  const auto& out = probes_.runs[0].facts[node.outputs[0]].shape;
  if (!in || !out || out->empty()) cannot(node, "its shapes are not known, or one value is left");
  const bool drops_columns = in->size() > out->size() && from.columns == 1 && out->back() != 1;
  const bool drops_position =
      in->size() == 3 && (*in)[1] == 1 && out->size() == 2 && from.rows == RowKind::kTexts;
  if (in->size() != out->size() && !drops_columns && !drops_position) cannot(node, "squeezes another axis");
  from.keeps_columns = from.keeps_columns && !drops_columns;
  from.floats = floats_of(node, node.inputs[0]);
  homes_[node.outputs[0]] = from;
}

void Lowering::make_choices(const Node& node) {
  Home from = home(node, node.inputs[0]);
  const auto& out = probes_.runs[1].facts[node.outputs[0]].shape;
  if (!plan_->by_choices || from.rows != RowKind::kTexts || from.columns != 1 || !out || out->size() != 2 ||
      (*out)[0] * (*out)[1] != probes_.runs[1].batch)
    cannot(node, "changes the shape of packed rows");
  from.by_choices = true;
  from.floats = floats_of(node, node.inputs[0]);
  homes_[node.outputs[0]] = from;
}

Shape Lowering::shape_of(const PlanOutput& output, const Probe& run) const {
  Shape shape = {run.batch};
  if (output.rows != RowKind::kTexts) shape.push_back(run.length);
  if (output.one_position) shape.push_back(1);
  if (output.keeps_columns) shape.push_back(static_cast<int64_t>(output.columns));
  return shape;
}

void Lowering::add_output(ValueId id) {
  const Home& from = homes_[id];
  if (!from.floats)
    throw CannotPack{fmt::format("graph output {} has no rows of tokens or texts", graph_.values[id].name)};
  if (from.rows == RowKind::kSources)
    throw CannotPack{fmt::format("graph output {} has rows of encoder states", graph_.values[id].name)};
  PlanOutput output{graph_.values[id].name, from.rows, from.columns,      from.keeps_columns,
                    from.by_choices,        false,     used(*from.floats)};
  for (const Probe& run : probes_.runs) {
    const auto& shape = run.facts[id].shape;
    if (!shape) continue;
    output.one_position = from.rows == RowKind::kTexts && shape->size() == 3 && (*shape)[1] == 1;
    if (!from.by_choices && *shape != shape_of(output, run))
      throw CannotPack{fmt::format("graph output {} has shape {} for {} texts of {} tokens",
                                   graph_.values[id].name, to_string(*shape), run.batch, run.length)};
  }
  plan_->outputs.push_back(std::move(output));
}

}  // namespace qdqbert::engine
