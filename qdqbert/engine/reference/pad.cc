// Pad and Trilu.
#include <cstring>

#include "qdqbert/engine/reference/strided.h"
#include "qdqbert/engine/reference/types.h"

namespace qdqbert::engine::reference {

namespace {

/// For each place along an axis that is padded the place that it shows, or -1 for the constant.
std::vector<int64_t> shown(const Call& call, const std::string& mode, int64_t size, int64_t before,
                           int64_t after) {
  const int64_t all = size + before + after;
  if (all < 0) call.refuse("pads {} and {} leave nothing of a dimension of size {}", before, after, size);
  std::vector<int64_t> places(static_cast<size_t>(all));
  for (int64_t i = 0; i < all; ++i) {
    int64_t at = i - before;
    if (at < 0 || at >= size) {
      if (mode == "constant")
        at = -1;
      else if (size == 0 || (mode == "reflect" && (-at >= size || at > 2 * size - 2)))
        call.refuse("a dimension of size {} is too short for mode {}", size, mode);
      else if (mode == "reflect")
        at = at < 0 ? -at : 2 * size - 2 - at;
      else
        at = at < 0 ? 0 : size - 1;
    }
    places[static_cast<size_t>(i)] = at;
  }
  return places;
}

std::string check_mode(const Node& node) {
  const std::string mode = node.text("mode", "constant");
  return mode == "constant" || mode == "reflect" || mode == "edge"
             ? ""
             : fmt::format("mode {} is not supported", mode);
}

std::vector<Tensor> pad(const Call& call) {
  const Tensor& x = call.input(0);
  const size_t rank = x.shape.size();
  const std::vector<int64_t> pads = call.integers(call.input(1), "pads");
  std::vector<size_t> axes;
  if (const Tensor* given = call.optional(3)) {
    for (const int64_t axis : call.integers(*given, "axes")) axes.push_back(call.axis(axis, rank));
  } else {
    for (size_t d = 0; d < rank; ++d) axes.push_back(d);
  }
  if (pads.size() != 2 * axes.size()) call.refuse("{} pads for {} axes", pads.size(), axes.size());
  const std::string mode = call.node.text("mode", "constant");
  std::vector<std::vector<int64_t>> places(rank);
  for (size_t d = 0; d < rank; ++d) places[d] = shown(call, mode, x.shape[d], 0, 0);
  constexpr int64_t kMost = int64_t{1} << 40;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (std::abs(pads[i]) > kMost || std::abs(pads[axes.size() + i]) > kMost)
      call.refuse("pads of {} and {} do not fit into memory", pads[i], pads[axes.size() + i]);
    Shape checked = x.shape;
    checked[axes[i]] += pads[i] + pads[axes.size() + i];
    call.allocate(x.dtype, checked);  // before places are made for as many
    places[axes[i]] = shown(call, mode, x.shape[axes[i]], pads[i], pads[axes.size() + i]);
  }
  Shape shape;
  for (const auto& along : places) shape.push_back(static_cast<int64_t>(along.size()));
  const std::vector<int64_t> strides = strides_of(x.shape);
  WritableTensor out = call.allocate(x.dtype, shape);
  const Tensor* filler = call.optional(2);
  if (filler) {
    call.require(*filler, x.dtype, "the constant");
    if (filler->count() != 1) call.refuse("the constant has shape {}", to_string(filler->shape));
  }
  with_width(x.dtype, [&]<class T>(Type<T>) {
    const T* from = x.as<T>().data();
    const T fill = filler ? filler->template as<T>()[0] : T{0};
    T* to = out.as<T>();
    std::vector<size_t> index(rank, 0);
    for (int64_t i = 0; i < out.tensor.count(); ++i) {
      int64_t at = 0;
      for (size_t d = 0; d < rank && at >= 0; ++d)
        at = places[d][index[d]] < 0 ? -1 : at + places[d][index[d]] * strides[d];
      to[i] = at < 0 ? fill : from[at];
      for (size_t d = rank; d-- > 0 && ++index[d] == places[d].size();) index[d] = 0;
    }
  });
  return {out.tensor};
}

/// The last two axes on one side of a diagonal, 0 on the other.
std::vector<Tensor> trilu(const Call& call) {
  const Tensor& x = call.input(0);
  if (x.shape.size() < 2) call.refuse("a matrix is needed, not {}", to_string(x.shape));
  int64_t diagonal = 0;
  if (const Tensor* given = call.optional(1)) {
    const std::vector<int64_t> k = call.integers(*given, "k");
    if (k.size() != 1) call.refuse("k has {} elements", k.size());
    diagonal = std::clamp<int64_t>(k[0], -(int64_t{1} << 40), int64_t{1} << 40);
  }
  const bool upper = call.node.integer("upper", 1) != 0;
  const int64_t columns = x.shape.back(), rows = x.shape[x.shape.size() - 2];
  WritableTensor out = call.allocate(x.dtype, x.shape);
  with_width(x.dtype, [&]<class T>(Type<T>) {
    const T* from = x.as<T>().data();
    T* to = out.as<T>();
    for (int64_t i = 0; i < out.tensor.count(); ++i) {
      const int64_t row = i / columns % rows, column = i % columns;
      const bool kept = upper ? column - row >= diagonal : column - row <= diagonal;
      to[i] = kept ? from[i] : T{0};
    }
  });
  return {out.tensor};
}

}  // namespace

std::span<const Operator> pad_operators() {
  static const Operator rows[] = {
      {.name = "Pad", .function = pad, .half = Half::kAsIs, .check = check_mode, .inputs = 2},
      {.name = "Trilu", .function = trilu, .half = Half::kAsIs},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
