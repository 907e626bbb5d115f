#include "qdqbert/io/tensor_set.h"

#include <utility>

#include "qdqbert/io/refuse.h"

namespace qdqbert::io {

bool TensorSet::add(std::string name, TensorView tensor) {
  if (!index_.emplace(name, tensors_.size()).second) return false;
  tensors_.push_back({std::move(name), std::move(tensor)});
  return true;
}

void TensorSet::append(TensorSet other, std::string_view file) {
  for (auto& [name, tensor] : other.tensors_) {
    if (find(name))
      refuse("[checkpoint] {}: the tensor \"{}\" is already in another file of this checkpoint", file, name);
    add(std::move(name), std::move(tensor));
  }
  for (auto& owner : other.owners_) keep(std::move(owner));
}

const TensorView* TensorSet::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second].tensor;
}

}  // namespace qdqbert::io
