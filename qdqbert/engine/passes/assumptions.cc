#include "qdqbert/engine/passes/assumptions.h"

#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

#include "qdqbert/engine/passes/mask_dependence.h"
#include "qdqbert/engine/passes/sizes.h"

namespace qdqbert::engine {

namespace {

using Kind = Assumption::Kind;

/// Constants of floats up to this size may take part in a mask; larger ones are weights.
constexpr int64_t kFloatElements = 4096;
/// Of what is computed for a request; a mask of 64 texts of 512 tokens in 64 bits has half of it.
constexpr int64_t kFollowedBytes = int64_t{1} << 28;
constexpr size_t kRemembered = size_t{1} << 16;

bool is_bias(Kind kind) {
  return kind == Kind::kPadding || kind == Kind::kCausal || kind == Kind::kSources;
}

const char* meaning(Kind kind) {
  switch (kind) {
    case Kind::kPadding:
      return "a mask of padding";
    case Kind::kCausal:
      return "a mask of padding and of later tokens";
    case Kind::kSources:
      return "a mask of encoder states";
    case Kind::kDistances:
      return "the distances of tokens";
    case Kind::kPositions:
    case Kind::kLeadingRows:
      return "the positions of tokens";
    case Kind::kZeros:
      break;
  }
  return "zeros";
}

bool holds(const Probe& run, ValueId id, const Assumption& what, bool all_queries) {
  switch (what.kind) {
    case Kind::kPadding:
    case Kind::kCausal:
    case Kind::kSources:
      return removes(run, id, what.kind, all_queries);
    case Kind::kDistances:
      return is_distances(run, id, (what.rows + 1) / 2);
    case Kind::kPositions:
      return is_positions(run, id);
    case Kind::kZeros:
      return is_zeros(run, id);
    case Kind::kLeadingRows:
      return run.facts[id].shape && run.facts[id].shape->size() == 2 &&
             (*run.facts[id].shape)[0] == std::min(run.length, what.rows);
  }
  return false;
}

/// Whether a text has a position without a token between two that have one.
bool has_holes(const RequestSizes& sizes) {
  for (int64_t text = 0; text < sizes.batch; ++text) {
    const auto begin = sizes.mask.begin() + text * sizes.length, end = begin + sizes.length;
    const auto first = std::find(begin, end, 1), gap = std::find(first, end, 0);
    if (std::find(gap, end, 1) != end) return true;
  }
  return false;
}

/// Nodes that lead to a value, by the values that they read.
void mark_inputs(const Graph& graph, std::vector<bool>& wanted) {
  for (size_t n = graph.nodes.size(); n-- > 0;) {
    const Node& node = graph.nodes[n];
    const bool leads = std::any_of(node.outputs.begin(), node.outputs.end(),
                                   [&](ValueId id) { return id != kNoValue && wanted[id]; });
    if (!leads || node.op == "Shape") continue;
    for (const ValueId id : node.inputs)
      if (id != kNoValue) wanted[id] = true;
  }
}

}  // namespace

AssumptionCheck::AssumptionCheck(Graph before, std::vector<Assumption> assumptions)
    : graph_(std::move(before)), wanted_(graph_.values.size(), false) {
  std::unordered_map<std::string, ValueId> ids;
  for (ValueId id = 0; id < graph_.values.size(); ++id) ids.emplace(graph_.values[id].name, id);
  for (Assumption& assumption : assumptions) {
    const ValueId id = ids.at(assumption.value);
    wanted_[id] = wanted_[id] || assumption.kind != Kind::kLeadingRows;
    watched_.push_back({id, std::move(assumption)});
  }
  mark_inputs(graph_, wanted_);
  for (ValueId id = 0; id < graph_.values.size(); ++id) {
    auto& constant = graph_.values[id].constant;
    if (constant && constant->dtype == DType::kF32 && constant->count() > kFloatElements) {
      wanted_[id] = false;
      *constant = Tensor{DType::kF32, constant->shape, {}, nullptr};
    }
  }
  remember_shapes();
}

std::optional<AssumptionCheck::Size> AssumptionCheck::size_of(const Probes& probes, int64_t first,
                                                              int64_t second) {
  const Probe &a = probes.runs[0], &b = probes.runs[1];
  Size size;
  if (first == second) {
    size.constant = first;
    return size;
  }
  const auto is_multiple = [&](int64_t in_first, int64_t in_second, int64_t& times) {
    if (in_first < 1 || first % in_first != 0 || first / in_first * in_second != second) return false;
    times = first / in_first;
    return true;
  };
  if (is_multiple(a.batch * a.length, b.batch * b.length, size.product) ||
      is_multiple(a.length, b.length, size.length) || is_multiple(a.sources, b.sources, size.sources) ||
      is_multiple(a.batch, b.batch, size.batch) || is_multiple(a.choices, b.choices, size.choices) ||
      is_multiple(a.batch / a.choices, b.batch / b.choices, size.rows))
    return size;
  return std::nullopt;
}

void AssumptionCheck::remember_shapes() {
  const Probes probes = probe(graph_);
  for (const Node& node : graph_.nodes)
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      const Fact &a = probes.runs[0].facts[id], &b = probes.runs[1].facts[id];
      if (!a.shape || !b.shape || a.contents || a.shape->size() != b.shape->size()) continue;
      Shaped shaped{id, {}};
      for (size_t d = 0; d < a.shape->size(); ++d)
        if (const auto size = size_of(probes, (*a.shape)[d], (*b.shape)[d])) shaped.sizes.push_back(*size);
      if (shaped.sizes.size() == a.shape->size()) shaped_.push_back(std::move(shaped));
    }
  factors_ = size_factors(graph_, probes);
  for (const auto& [id, number] : factors_) wanted_[id] = true;
  const std::vector<MaskDependence> depends = mask_dependence(graph_, probes.runs[1]);
  key_by_key_ = std::all_of(watched_.begin(), watched_.end(), [&](const Watched& watched) {
    const MaskDependence& on = depends[watched.id];
    if (on.kind == MaskDependence::Kind::kNone) return true;
    if (on.kind == MaskDependence::Kind::kAny || on.text != -4 || on.key != -1) return false;
    const bool of_sources = graph_.values[on.mask].name.starts_with("encoder_");
    return is_bias(watched.assumption.kind) && of_sources == (watched.assumption.kind == Kind::kSources);
  });
  for (const auto& [id, number] : factors_)
    key_by_key_ = key_by_key_ && depends[id].kind == MaskDependence::Kind::kNone;
  for (const Shaped& shaped : shaped_)
    key_by_key_ = key_by_key_ && depends[shaped.id].kind != MaskDependence::Kind::kAny;
}

std::string AssumptionCheck::ask(const RequestSizes& sizes, bool all_queries) const {
  Probe question;
  question.batch = sizes.batch;
  question.length = sizes.length;
  question.choices = std::max<int64_t>(1, sizes.choices);
  question.sources = sizes.sources;
  question.mask = sizes.mask;
  question.source_mask = sizes.source_mask;
  const auto fill = [](std::vector<int64_t>& mask, int64_t count) {
    if (mask.empty()) mask.assign(static_cast<size_t>(count), 1);
  };
  fill(question.mask, sizes.batch * sizes.length);
  fill(question.source_mask, sizes.batch * sizes.sources);
  const Probe run = probe(graph_, std::move(question), {.bytes = kFollowedBytes, .wanted = &wanted_});
  for (const auto& [id, assumption] : watched_)
    if (!holds(run, id, assumption, all_queries))
      return fmt::format("{} is not {}", assumption.value, meaning(assumption.kind));
  for (const auto& [id, number] : factors_)
    if (!is_number(run, id, number)) return fmt::format("{} is not {}", graph_.values[id].name, number);
  for (const auto& [id, expected] : shaped_) {
    Shape shape;
    for (const Size& size : expected)
      shape.push_back(size.constant + size.batch * run.batch + size.length * run.length +
                      size.product * run.batch * run.length + size.sources * run.sources +
                      size.choices * run.choices + size.rows * (run.batch / run.choices));
    if (run.facts[id].shape != shape)
      return fmt::format("{} has another shape than {}", graph_.values[id].name, to_string(shape));
  }
  return {};
}

std::string AssumptionCheck::ask_for_all_masks(RequestSizes sizes) const {
  sizes.mask.clear();
  sizes.source_mask.clear();
  std::string wrong = ask(sizes, true);
  if (!wrong.empty()) return wrong;
  sizes.mask.assign(static_cast<size_t>(sizes.batch * sizes.length), 0);
  sizes.source_mask.assign(static_cast<size_t>(sizes.batch * sizes.sources), 0);
  return ask(sizes, true);
}

std::string AssumptionCheck::broken(RequestSizes sizes) const {
  if (watched_.empty() && shaped_.empty()) return {};
  const auto all_ones = [](const std::vector<int64_t>& mask) {
    return std::find(mask.begin(), mask.end(), 0) == mask.end();
  };
  const bool ones = all_ones(sizes.mask) && all_ones(sizes.source_mask);
  // Packed tokens are as far apart as they follow each other.
  for (const Watched& watched : watched_)
    if (watched.assumption.kind == Kind::kDistances && !sizes.mask.empty() && has_holes(sizes))
      return fmt::format("{} counts the positions that the mask takes out of a text",
                         watched.assumption.value);
  if (!ones && !key_by_key_) return ask(sizes, false);
  const std::vector<int64_t> key = {sizes.batch, sizes.length, sizes.choices, sizes.sources};
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
  }
  std::string wrong = key_by_key_ ? ask_for_all_masks(sizes) : ask(sizes, false);
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kRemembered) known_.clear();
  known_.emplace(key, wrong);
  return wrong;
}

size_t AssumptionCheck::longest() const {
  size_t longest = SIZE_MAX;
  for (const auto& [id, assumption] : watched_) {
    const bool distances = assumption.kind == Kind::kDistances;
    if (!distances && assumption.kind != Kind::kPositions && assumption.kind != Kind::kLeadingRows) continue;
    const int64_t end = distances ? (assumption.rows + 1) / 2 : assumption.rows;
    Probe question;
    question.batch = question.choices = 1;
    question.length = question.sources = end + 1;
    question.mask.assign(static_cast<size_t>(end + 1), 1);
    question.source_mask = question.mask;
    const Probe run = probe(graph_, std::move(question), {.bytes = kFollowedBytes, .wanted = &wanted_});
    const Fact& index = run.facts[id];
    const bool spans = assumption.kind != Kind::kLeadingRows && index.contents && index.shape &&
                       !index.shape->empty() && index.shape->back() == end + 1;
    bool inside = spans;
    if (spans)
      for (const int64_t row : to_int64(index.contents->view()))
        inside = inside && row >= 0 && row < assumption.rows;
    if (!inside) longest = std::min(longest, static_cast<size_t>(end));
  }
  return longest;
}

}  // namespace qdqbert::engine
