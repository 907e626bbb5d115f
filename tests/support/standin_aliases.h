// The memory of the stand-in device, and its tensors as the CPU's kernels take them.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "tests/support/protected_memory.h"

namespace qdqbert::testing {

/// Protected pages of standin_device().
c10::Allocator& standin_allocator();

/// False for an undefined tensor.
bool is_on_standin(const at::Tensor& tensor);

/// The tensors of one call as CPU tensors over the same memory, which is open while this lives.
class Aliases {
 public:
  /// Tensors of other devices, and undefined ones, stay as they are.
  at::Tensor of(const at::Tensor& tensor);
  /// Tensors, lists of them, and a device of the kind.
  c10::IValue of(const c10::IValue& value);

  /// A result of the call on the device: one of its arguments, a view of one, or a tensor of its own.
  at::Tensor back(const at::Tensor& cpu) const;
  c10::IValue back(const c10::IValue& value) const;

  /// Arguments that the call has given another size.
  void take_over_sizes();

 private:
  struct Shared {
    c10::Storage device, cpu;
  };
  struct Pair {
    at::Tensor device, cpu;
  };

  const Shared& shared(const c10::Storage& device);

  std::vector<OpenBlock> open_;
  std::vector<Shared> storages_;
  std::vector<Pair> tensors_;
};

}  // namespace qdqbert::testing
