#include "tests/support/standin_aliases.h"

#include <cstring>

#include <torch/version.h>

#include "tests/support/standin_device.h"

namespace qdqbert::testing {
namespace {

at::DataPtr taken(size_t bytes) {
  void* block = take_protected(bytes);
  return {block, block, free_protected, standin_device()};
}

// From release 2.3 on, allocators may change while they allocate, and copy for their callers.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
class StandinAllocator final : public c10::Allocator {
 public:
  at::DataPtr allocate(size_t bytes) override { return taken(bytes); }
  at::DeleterFnPtr raw_deleter() const override { return free_protected; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    const OpenBlock target(to), source(const_cast<void*>(from));
    std::memcpy(to, from, bytes);
  }
};
#else
class StandinAllocator final : public c10::Allocator {
 public:
  at::DataPtr allocate(size_t bytes) const override { return taken(bytes); }
  at::DeleterFnPtr raw_deleter() const override { return free_protected; }
};
#endif

at::Tensor tensor_over(const c10::Storage& storage, c10::DispatchKey key, const at::Tensor& like) {
  at::Tensor tensor =
      at::detail::make_tensor<c10::TensorImpl>(c10::Storage(storage), c10::DispatchKeySet(key), like.dtype());
  tensor.unsafeGetTensorImpl()->set_storage_offset(like.storage_offset());
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides());
  return tensor;
}

c10::Storage storage_of(const at::Tensor& tensor) {
  return tensor.storage();
}

void* address_of(const c10::Storage& storage) {
  return storage.unsafeGetStorageImpl()->data_ptr().get();
}

c10::Storage moved(const c10::Storage& cpu) {
  at::DataPtr memory = taken(cpu.nbytes());
  {
    const OpenBlock open(memory.get());
    if (cpu.nbytes() > 0) std::memcpy(memory.get(), address_of(cpu), cpu.nbytes());
  }
  return c10::Storage(c10::Storage::use_byte_size_t(), cpu.nbytes(), std::move(memory), &standin_allocator(),
                      /*resizable=*/true);
}

}  // namespace

c10::Allocator& standin_allocator() {
  static auto* const instance = new StandinAllocator;
  return *instance;
}

bool is_on_standin(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == c10::DeviceType::PrivateUse1;
}

at::Tensor Aliases::of(const at::Tensor& tensor) {
  if (!is_on_standin(tensor)) return tensor;
  for (const Pair& pair : tensors_)
    if (pair.device.is_same(tensor)) return pair.cpu;
  at::Tensor cpu = tensor_over(shared(storage_of(tensor)).cpu, c10::DispatchKey::CPU, tensor);
  // What a number without a type says of the result's type.
  if (tensor.dim() == 0)
    cpu.unsafeGetTensorImpl()->set_wrapped_number(tensor.unsafeGetTensorImpl()->is_wrapped_number());
  tensors_.push_back({tensor, cpu});
  return cpu;
}

c10::IValue Aliases::of(const c10::IValue& value) {
  if (value.isTensor()) return of(value.toTensor());
  if (value.isTensorList()) {
    auto list = value.toTensorList().copy();
    for (size_t i = 0; i < list.size(); ++i) list.set(i, of(list.get(i)));
    return list;
  }
  if (value.isOptionalTensorList()) {
    auto list = value.toOptionalTensorList().copy();
    for (size_t i = 0; i < list.size(); ++i)
      if (list.get(i).has_value()) list.set(i, of(*list.get(i)));
    return list;
  }
  if (value.isDevice() && value.toDevice().type() == c10::DeviceType::PrivateUse1)
    return at::Device(at::kCPU);
  return value;
}

at::Tensor Aliases::back(const at::Tensor& cpu) const {
  if (!cpu.defined()) return cpu;
  for (const Pair& pair : tensors_)
    if (pair.cpu.is_same(cpu)) return pair.device;
  const c10::Storage storage = storage_of(cpu);
  for (const Shared& pair : storages_)
    if (pair.cpu.unsafeGetStorageImpl() == storage.unsafeGetStorageImpl())
      return tensor_over(pair.device, c10::DispatchKey::PrivateUse1, cpu);
  return tensor_over(moved(storage), c10::DispatchKey::PrivateUse1, cpu);
}

c10::IValue Aliases::back(const c10::IValue& value) const {
  if (value.isTensor()) return back(value.toTensor());
  if (!value.isTensorList()) return value;
  auto list = value.toTensorList().copy();
  for (size_t i = 0; i < list.size(); ++i) list.set(i, back(list.get(i)));
  return list;
}

void Aliases::take_over_sizes() {
  for (const Shared& pair : storages_) {
    if (address_of(pair.cpu) == address_of(pair.device) && pair.cpu.nbytes() == pair.device.nbytes())
      continue;
    const c10::Storage larger = moved(pair.cpu);
    pair.device.set_data_ptr_noswap(
        std::move(const_cast<at::DataPtr&>(larger.unsafeGetStorageImpl()->data_ptr())));
    pair.device.set_nbytes(pair.cpu.nbytes());
  }
  for (const Pair& pair : tensors_) {
    c10::TensorImpl* impl = pair.device.unsafeGetTensorImpl();
    if (pair.device.sizes() == pair.cpu.sizes() && pair.device.strides() == pair.cpu.strides() &&
        pair.device.storage_offset() == pair.cpu.storage_offset())
      continue;
    impl->set_storage_offset(pair.cpu.storage_offset());
    impl->set_sizes_and_strides(pair.cpu.sizes(), pair.cpu.strides());
  }
}

const Aliases::Shared& Aliases::shared(const c10::Storage& device) {
  for (const Shared& pair : storages_)
    if (pair.device.unsafeGetStorageImpl() == device.unsafeGetStorageImpl()) return pair;
  void* address = address_of(device);
  open_.emplace_back(address);
  storages_.push_back({device, c10::Storage(c10::Storage::use_byte_size_t(), device.nbytes(),
                                            at::DataPtr(address, at::Device(at::kCPU)),
                                            c10::GetAllocator(at::kCPU), /*resizable=*/true)});
  return storages_.back();
}

}  // namespace qdqbert::testing
