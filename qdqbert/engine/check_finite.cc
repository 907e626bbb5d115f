#include "qdqbert/engine/check_finite.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "qdqbert/base/error.h"

namespace qdqbert::engine {

namespace {

/// Pages of the file that are kept in memory meanwhile: a plan reads most of them once more, and tables hardly.
constexpr size_t kKeptBytes = size_t{8} << 20;

bool is_floating(DType dtype) {
  return dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

/// Whether an exponent is all ones, without a branch for each: files have hundreds of megabytes of these.
template <class Word>
bool any_special(const Tensor& tensor, Word exponent) {
  bool found = false;
  const std::span<const Word> words = tensor.as<Word>();
  constexpr size_t kBlock = 4096;
  for (size_t at = 0; at < words.size() && !found; at += kBlock) {
    const size_t end = std::min(words.size(), at + kBlock);
    unsigned special = 0;
    for (size_t i = at; i < end; ++i) special |= (words[i] & exponent) == exponent ? 1u : 0u;
    found = special != 0;
  }
  return found;
}

bool any_special(const Tensor& tensor) {
  switch (tensor.dtype) {
    case DType::kF64:
      return any_special<uint64_t>(tensor, 0x7ff0000000000000);
    case DType::kF16:
      return any_special<uint16_t>(tensor, 0x7c00);
    case DType::kBF16:
      return any_special<uint16_t>(tensor, 0x7f80);
    default:
      return any_special<uint32_t>(tensor, 0x7f800000);
  }
}

/// Operators that compare with a value, bound by it or choose it.
bool may_read_infinity(const std::string& op) {
  constexpr std::array kOps = {std::string_view("Where"),  std::string_view("Clip"),
                               std::string_view("Min"),    std::string_view("Max"),
                               std::string_view("Equal"),  std::string_view("IsInf"),
                               std::string_view("Less"),   std::string_view("Cast"),
                               std::string_view("Expand"), std::string_view("Greater")};
  return std::find(kOps.begin(), kOps.end(), op) != kOps.end();
}

}  // namespace

void check_finite(const Graph& graph) {
  const GraphIndex index(graph);
  size_t looked_at = 0;
  for (ValueId id = 0; id < graph.values.size(); ++id) {
    const auto& constant = graph.values[id].constant;
    if (!constant || !is_floating(constant->dtype)) continue;
    const bool special = any_special(*constant);
    looked_at += constant->view().data.size();
    if (looked_at >= kKeptBytes) {
      for (const auto& file : graph.files) file->release_pages();
      looked_at = 0;
    }
    if (!special) continue;
    const std::vector<float> values = to_float32(constant->view());
    const bool is_mask = values.size() > 1 && std::all_of(values.begin(), values.end(), [](float value) {
                           return value == 0 || value == -INFINITY;
                         });
    const bool is_bound =
        values.size() == 1 && std::all_of(index.readers[id].begin(), index.readers[id].end(),
                                          [&](uint32_t n) { return may_read_infinity(graph.nodes[n].op); });
    for (size_t i = 0; i < values.size(); ++i)
      if (std::isnan(values[i]) || (std::isinf(values[i]) && !is_mask && !is_bound))
        fail(
            "[onnx] {}: {} holds {} at element {}; weights and scales are finite, export from an intact model",
            graph.name, graph.values[id].name, values[i], i);
  }
}

void check_finite(std::span<const float> values, std::string_view model, std::string_view output) {
  for (size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      fail("[model] {}: output {} holds {}, which is no result; its weights or this input overflow", model,
           output, values[i]);
}

}  // namespace qdqbert::engine
