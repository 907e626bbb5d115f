// Named tensors out of one or more files, together with whatever keeps their bytes in memory.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "qdqbert/base/dtype.h"

namespace qdqbert::io {

struct NamedTensor {
  std::string name;
  TensorView tensor;
};

/// Keeps the order in which tensors were added. Copies share the bytes.
class TensorSet {
 public:
  /// False when the name is already there; the set is then unchanged.
  bool add(std::string name, TensorView tensor);
  /// Something (a mapping, a buffer) that must live as long as the set.
  void keep(std::shared_ptr<const void> owner) { owners_.push_back(std::move(owner)); }
  /// Moves the tensors and owners of `other` to the end; throws InputError naming `file` and the tensor for a
  /// name that is already there.
  void append(TensorSet other, std::string_view file);

  const std::vector<NamedTensor>& tensors() const { return tensors_; }
  /// nullptr when there is no such tensor.
  const TensorView* find(std::string_view name) const;

 private:
  std::vector<NamedTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::vector<std::shared_ptr<const void>> owners_;
};

}  // namespace qdqbert::io
