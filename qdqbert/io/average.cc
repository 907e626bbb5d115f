#include "qdqbert/io/average.h"

#include <algorithm>
#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/io/element_types.h"

namespace qdqbert::io {

namespace {

bool is_range(std::string_view name) {
  return name.ends_with("._amax");
}

/// Ranges may be stored with the shapes [1] for a scalar and [out] for rows.
Shape shape_of(const NamedTensor& item) {
  const Shape& shape = item.tensor.shape;
  if (!is_range(item.name)) return shape;
  if (item.tensor.count() == 1) return {};
  return shape.size() == 1 ? Shape{shape[0], 1} : shape;
}

OwnedTensor mean_of(const std::vector<TensorView>& tensors, const Shape& shape) {
  std::vector<double> sum(static_cast<size_t>(tensors[0].count()));
  for (const TensorView& tensor : tensors) {
    const std::vector<float> values = to_float32(tensor);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += values[i];
  }
  std::vector<float> mean(sum.size());
  std::transform(sum.begin(), sum.end(), mean.begin(),
                 [&](double s) { return static_cast<float>(s / static_cast<double>(tensors.size())); });
  return make_tensor(shape, std::span<const float>(mean));
}

}  // namespace

std::vector<OwnedNamedTensor> average(std::span<const Checkpoint> checkpoints) {
  if (checkpoints.size() < 2)
    fail("[average] a mean needs two checkpoints at least, got {}", checkpoints.size());
  const Checkpoint& first = checkpoints[0];
  for (const Checkpoint& other : checkpoints.subspan(1))
    for (const NamedTensor& item : other.tensors())
      if (!first.find(item.name))
        fail("[average] {} has a tensor {} that {} lacks", other.file().string(), item.name,
             first.file().string());
  std::vector<OwnedNamedTensor> result;
  for (const NamedTensor& item : first.tensors()) {
    std::vector<TensorView> same;
    for (const Checkpoint& checkpoint : checkpoints) {
      const TensorView& tensor = checkpoint.at(item.name);
      if (shape_of({item.name, tensor}) != shape_of(item))
        fail("[average] {} has shape {} in {} and {} in {}", item.name, to_string(item.tensor.shape),
             first.file().string(), to_string(tensor.shape), checkpoint.file().string());
      const bool floating = is_floating(item.tensor.dtype);
      const bool fits =
          floating ? is_floating(tensor.dtype)
                   : tensor.dtype == item.tensor.dtype && std::ranges::equal(tensor.data, item.tensor.data);
      if (!fits)
        fail("[average] {} of {} is not {} of {}: {}", item.name, checkpoint.file().string(), item.name,
             first.file().string(), floating ? "other types of numbers" : "integers cannot be averaged");
      same.push_back(tensor);
    }
    if (is_floating(item.tensor.dtype)) {
      OwnedTensor mean = mean_of(same, shape_of(item));
      const std::vector<float> values = to_float32(mean.view());
      if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); }))
        fail("[average] {} holds values that are no finite numbers in {} or another of the checkpoints",
             item.name, first.file().string());
      result.push_back({item.name, std::move(mean)});
    } else {
      const auto& bytes = item.tensor.data;
      result.push_back({item.name, {item.tensor.dtype, item.tensor.shape, {bytes.begin(), bytes.end()}}});
    }
  }
  return result;
}

}  // namespace qdqbert::io
