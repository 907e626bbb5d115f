// Einsum: up to three operands, any letters, repeated ones and the ellipsis included.
#include <map>
#include <type_traits>

#include "qdqbert/engine/reference/strided.h"
#include "qdqbert/engine/reference/types.h"

namespace qdqbert::engine::reference {

namespace {

/// Labels of dimensions: letters; 0 for the ellipsis, and once the shapes are known -1 for the last of the
/// dimensions that it stands for, -2 for the one before, ...
using Labels = std::vector<int>;

Labels parse_term(const Call& call, std::string_view term) {
  Labels labels;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term.substr(i, 3) == "...") {
      if (std::find(labels.begin(), labels.end(), 0) != labels.end())
        call.refuse("the term {} has two ellipses", term);
      labels.push_back(0);
      i += 2;
    } else if ((term[i] >= 'a' && term[i] <= 'z') || (term[i] >= 'A' && term[i] <= 'Z')) {
      labels.push_back(term[i]);
    } else {
      call.refuse("the term {} of the equation cannot be read", term);
    }
  }
  return labels;
}

struct Parsed {
  std::vector<Labels> operands;
  std::optional<Labels> output;
};

Parsed parse(const Call& call) {
  std::string text = call.node.text("equation", "");
  std::erase(text, ' ');
  Parsed parsed;
  const size_t arrow = text.find("->");
  const std::string left = text.substr(0, arrow);
  if (arrow != std::string::npos) parsed.output = parse_term(call, std::string_view(text).substr(arrow + 2));
  for (size_t begin = 0; begin <= left.size();) {
    const size_t comma = std::min(left.find(',', begin), left.size());
    parsed.operands.push_back(parse_term(call, std::string_view(left).substr(begin, comma - begin)));
    begin = comma + 1;
  }
  if (parsed.operands.size() != call.inputs.size())
    call.refuse("the equation {} has {} operands, the node {}", text, parsed.operands.size(),
                call.inputs.size());
  return parsed;
}

/// Puts -n ... -1 where the ellipsis stands.
void expand_ellipsis(Labels& labels, size_t dimensions) {
  const auto place = std::find(labels.begin(), labels.end(), 0);
  if (place == labels.end()) return;
  Labels numbered(dimensions);
  for (size_t d = 0; d < dimensions; ++d) numbered[d] = static_cast<int>(d) - static_cast<int>(dimensions);
  labels.insert(labels.erase(place), numbered.begin(), numbered.end());
}

struct Space {
  Shape shape;  ///< output dimensions, then those that are summed over
  size_t output_rank = 0;
  std::vector<std::vector<int64_t>> strides;  ///< of each operand
};

Space index_space(const Call& call) {
  Parsed parsed = parse(call);
  size_t widest = 0;
  for (size_t n = 0; n < parsed.operands.size(); ++n) {
    Labels& labels = parsed.operands[n];
    const size_t rank = call.input(n).shape.size();
    const bool open = std::find(labels.begin(), labels.end(), 0) != labels.end();
    if (open ? rank + 1 < labels.size() : rank != labels.size())
      call.refuse("operand {} has the shape {}, the equation {}", n, to_string(call.input(n).shape),
                  call.node.text("equation", ""));
    if (open) {
      widest = std::max(widest, rank + 1 - labels.size());
      expand_ellipsis(labels, rank + 1 - labels.size());
    }
  }
  std::map<int, int64_t> sizes;
  std::map<int, int> uses;
  for (size_t n = 0; n < parsed.operands.size(); ++n)
    for (size_t d = 0; d < parsed.operands[n].size(); ++d) {
      const int label = parsed.operands[n][d];
      const int64_t size = call.input(n).shape[d];
      const auto [entry, fresh] = sizes.emplace(label, size);
      ++uses[label];
      if (fresh || entry->second == size || size == 1) continue;
      if (entry->second != 1)
        call.refuse("a dimension of the equation {} is {} and {}", call.node.text("equation", ""),
                    entry->second, size);
      entry->second = size;
    }
  if (!parsed.output) {
    // Implicit form: the ellipsis, then the letters that stand once, in alphabetical order.
    parsed.output.emplace();
    for (const auto& [label, count] : uses)
      if (label < 0 || count == 1) parsed.output->push_back(label);
  } else {
    expand_ellipsis(*parsed.output, widest);
  }
  Labels order = *parsed.output;
  for (size_t i = 0; i < order.size(); ++i)
    if (!sizes.contains(order[i]) || std::find(order.begin(), order.begin() + static_cast<int64_t>(i),
                                               order[i]) != order.begin() + static_cast<int64_t>(i))
      call.refuse("the output of the equation {} has a letter that is no operand's, or twice",
                  call.node.text("equation", ""));
  Space space;
  space.output_rank = order.size();
  for (const auto& [label, size] : sizes)
    if (std::find(order.begin(), order.end(), label) == order.end()) order.push_back(label);
  for (const int label : order) space.shape.push_back(sizes[label]);
  for (size_t n = 0; n < parsed.operands.size(); ++n) {
    const std::vector<int64_t> own = strides_of(call.input(n).shape);
    std::vector<int64_t>& strides = space.strides.emplace_back(order.size(), 0);
    for (size_t d = 0; d < parsed.operands[n].size(); ++d) {
      if (call.input(n).shape[d] == 1) continue;
      const size_t place =
          static_cast<size_t>(std::find(order.begin(), order.end(), parsed.operands[n][d]) - order.begin());
      strides[place] += own[d];  // a repeated letter walks along the diagonal
    }
  }
  return space;
}

/// Products of all operands summed over the trailing dimensions.
template <class T, size_t N>
void sum_products(const Call& call, const Space& space, const std::array<const T*, N>& from, T* to) {
  const auto middle = static_cast<int64_t>(space.output_rank);
  const Shape outer(space.shape.begin(), space.shape.begin() + middle);
  const Shape summed(space.shape.begin() + middle, space.shape.end());
  std::array<std::vector<int64_t>, N> outer_strides, summed_strides;
  for (size_t n = 0; n < N; ++n) {
    outer_strides[n].assign(space.strides[n].begin(), space.strides[n].begin() + middle);
    summed_strides[n].assign(space.strides[n].begin() + middle, space.strides[n].end());
  }
  const StridedWalk<N> outputs(outer, outer_strides), terms(summed, summed_strides);
  const int64_t term_count = call.count(summed);
  const auto& steps = outputs.inner_strides();
  const auto& term_steps = terms.inner_strides();
  call.parallel(call.count(outer), 64, [&](int64_t begin, int64_t end) {
    outputs.walk(begin, end, [&](int64_t position, const std::array<int64_t, N>& at, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        T sum{0};
        terms.walk(0, term_count, [&](int64_t, const std::array<int64_t, N>& term, int64_t run) {
          for (int64_t l = 0; l < run; ++l) {
            T product = from[0][at[0] + i * steps[0] + term[0] + l * term_steps[0]];
            for (size_t n = 1; n < N; ++n)
              product *= from[n][at[n] + i * steps[n] + term[n] + l * term_steps[n]];
            sum += product;
          }
        });
        to[position + i] = sum;
      }
    });
  });
}

std::vector<Tensor> einsum(const Call& call) {
  const Space space = index_space(call);
  WritableTensor out =
      call.allocate(call.input(0).dtype,
                    {space.shape.begin(), space.shape.begin() + static_cast<int64_t>(space.output_rank)});
  call.count(space.shape);
  with_type(call, out.tensor.dtype, FloatTypes{}, [&]<class T>(Type<T>) {
    for (size_t n = 1; n < call.inputs.size(); ++n) call.require_same_type(call.input(0), call.input(n));
    const auto operand = [&](size_t n) { return call.input(n).template as<T>().data(); };
    if (call.inputs.size() == 1)
      sum_products<T, 1>(call, space, {operand(0)}, out.as<T>());
    else if (call.inputs.size() == 2)
      sum_products<T, 2>(call, space, {operand(0), operand(1)}, out.as<T>());
    else
      sum_products<T, 3>(call, space, {operand(0), operand(1), operand(2)}, out.as<T>());
  });
  return {out.tensor};
}

std::string check(const Node& node) {
  return node.inputs.size() > 3 ? fmt::format("{} operands, at most 3 are supported", node.inputs.size())
                                : "";
}

}  // namespace

std::span<const Operator> einsum_operators() {
  static const Operator rows[] = {{.name = "Einsum", .function = einsum, .check = check}};
  return rows;
}

}  // namespace qdqbert::engine::reference
