#include "tests/support/standin_device.h"

#include <atomic>
#include <cstring>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>
#include <torch/version.h>

#include "tests/support/protected_memory.h"

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 5)
#define QDQBERT_TORCH_HAS_ACCELERATORS 1
#include <ATen/detail/PrivateUse1HooksInterface.h>
#endif

namespace qdqbert::testing {
namespace {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;

std::atomic<int64_t> operators{0}, items{0}, to_host{0}, to_device{0};

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

StandinAllocator& allocator() {
  static auto* const instance = new StandinAllocator;
  return *instance;
}

bool is_ours(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == kType;
}

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

/// The tensors of one call as CPU tensors over the same memory, which is open while this lives.
class Aliases {
 public:
  at::Tensor of(const at::Tensor& tensor) {
    if (!is_ours(tensor)) return tensor;
    for (const Pair& pair : tensors_)
      if (pair.device.is_same(tensor)) return pair.cpu;
    at::Tensor cpu = tensor_over(shared(storage_of(tensor)).cpu, c10::DispatchKey::CPU, tensor);
    // What a number without a type says of the result's type.
    if (tensor.dim() == 0)
      cpu.unsafeGetTensorImpl()->set_wrapped_number(tensor.unsafeGetTensorImpl()->is_wrapped_number());
    tensors_.push_back({tensor, cpu});
    return cpu;
  }

  c10::IValue of(const c10::IValue& value) {
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
    if (value.isDevice() && value.toDevice().type() == kType) return at::Device(at::kCPU);
    return value;
  }

  /// A result of the call: one of its arguments, a view of one, or a tensor of its own.
  at::Tensor back(const at::Tensor& cpu) {
    if (!cpu.defined()) return cpu;
    for (const Pair& pair : tensors_)
      if (pair.cpu.is_same(cpu)) return pair.device;
    const c10::Storage storage = storage_of(cpu);
    for (const Shared& pair : storages_)
      if (pair.cpu.unsafeGetStorageImpl() == storage.unsafeGetStorageImpl())
        return tensor_over(pair.device, c10::DispatchKey::PrivateUse1, cpu);
    return tensor_over(moved(storage), c10::DispatchKey::PrivateUse1, cpu);
  }

  c10::IValue back(const c10::IValue& value) {
    if (value.isTensor()) return back(value.toTensor());
    if (!value.isTensorList()) return value;
    auto list = value.toTensorList().copy();
    for (size_t i = 0; i < list.size(); ++i) list.set(i, back(list.get(i)));
    return list;
  }

  /// Arguments that the call has given another size.
  void take_over_sizes() {
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

 private:
  struct Shared {
    c10::Storage device, cpu;
  };
  struct Pair {
    at::Tensor device, cpu;
  };

  const Shared& shared(const c10::Storage& device) {
    for (const Shared& pair : storages_)
      if (pair.device.unsafeGetStorageImpl() == device.unsafeGetStorageImpl()) return pair;
    void* address = address_of(device);
    open_.emplace_back(address);
    storages_.push_back({device, c10::Storage(c10::Storage::use_byte_size_t(), device.nbytes(),
                                              at::DataPtr(address, at::Device(at::kCPU)),
                                              c10::GetAllocator(at::kCPU), /*resizable=*/true)});
    return storages_.back();
  }

  static c10::Storage moved(const c10::Storage& cpu) {
    at::DataPtr memory = taken(cpu.nbytes());
    {
      const OpenBlock open(memory.get());
      if (cpu.nbytes() > 0) std::memcpy(memory.get(), address_of(cpu), cpu.nbytes());
    }
    return c10::Storage(c10::Storage::use_byte_size_t(), cpu.nbytes(), std::move(memory), &allocator(),
                        /*resizable=*/true);
  }

  std::vector<OpenBlock> open_;
  std::vector<Shared> storages_;
  std::vector<Pair> tensors_;
};

template <class Visit>
void for_tensors(const c10::IValue& value, const Visit& visit) {
  if (value.isTensor()) {
    visit(value.toTensor());
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) visit(tensor);
  } else if (value.isOptionalTensorList()) {
    const auto list = value.toOptionalTensorList();
    for (size_t i = 0; i < list.size(); ++i)
      if (list.get(i).has_value()) visit(*list.get(i));
  }
}

void refuse_other_devices(const c10::FunctionSchema& schema, const c10::IValue* arguments) {
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    const auto* alias = schema.arguments()[i].alias_info();
    const bool written = alias != nullptr && alias->isWrite();
    for_tensors(arguments[i], [&](const at::Tensor& tensor) {
      if (!tensor.defined() || is_ours(tensor) || (tensor.dim() == 0 && !written)) return;
      TORCH_CHECK(false, "[stand-in device] ", schema.operator_name(), " got its argument ",
                  schema.arguments()[i].name(), " on ", tensor.device(), ", another one on ",
                  standin_device(), "; move all of them to one device");
    });
  }
}

void run_on_pages(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::FunctionSchema& schema = op.schema();
  const size_t begin = stack->size() - schema.arguments().size();
  refuse_other_devices(schema, stack->data() + begin);
  ++operators;
  Aliases aliases;
  for (size_t i = begin; i < stack->size(); ++i) (*stack)[i] = aliases.of((*stack)[i]);
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  aliases.take_over_sizes();
  bool has_number = false;
  for (size_t i = begin; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    has_number = has_number || value.isBool() || value.isScalar();
    value = aliases.back(value);
  }
  if (has_number) ++items;
}

// Optional arguments by the type that this LibTorch gives them.
using OptionalType = decltype(c10::optTypeMetaToScalarType(at::TensorOptions().dtype_opt()));
using OptionalLayout = decltype(at::TensorOptions().layout_opt());
using OptionalDevice = decltype(at::TensorOptions().device_opt());
using OptionalFlag = decltype(at::TensorOptions().pinned_memory_opt());
using OptionalFormat = decltype(at::TensorOptions().memory_format_opt());

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

at::Tensor empty(at::IntArrayRef sizes, OptionalType type, OptionalLayout, OptionalDevice, OptionalFlag,
                 OptionalFormat format) {
  return at::detail::empty_generic(sizes, &allocator(), kKeys, c10::dtype_or_default(type), format);
}

at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, OptionalType type, OptionalLayout,
                         OptionalDevice, OptionalFlag) {
  return at::detail::empty_strided_generic(sizes, strides, &allocator(), kKeys, c10::dtype_or_default(type));
}

/// The only operator that takes tensors of two devices.
at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  if (is_ours(from) && !is_ours(to)) ++to_host;
  if (!is_ours(from) && is_ours(to)) ++to_device;
  Aliases aliases;
  aliases.of(to).copy_(aliases.of(from));
  return to;
}

at::Scalar item(const at::Tensor& tensor) {
  ++items;
  Aliases aliases;
  return at::_local_scalar_dense(aliases.of(tensor));
}

class StandinGuard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device) const override { return standin_device(); }
  c10::Device getDevice() const override { return standin_device(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, standin_device());
  }
  c10::Stream exchangeStream(c10::Stream) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, standin_device());
  }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_pages>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("_copy_from", copy_from);
  library.impl("_local_scalar_dense", item);
  // For devices without a kernel LibTorch has a formula, whose last bits are others than its kernel's.
  library.impl("native_layer_norm", torch::CppFunction::makeFromBoxedFunction<&run_on_pages>());
}

C10_REGISTER_GUARD_IMPL(PrivateUse1, StandinGuard);

#if QDQBERT_TORCH_HAS_ACCELERATORS
struct Hooks final : at::PrivateUse1HooksInterface {
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
};

/// Without it the accelerator that LibTorch was built for is taken for the one whose streams a backward pass
/// waits for. Not before the device is asked for: a process that uses a GPU needs that GPU's.
bool make_accelerator() {
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  c10::register_privateuse1_backend("standin");
  return true;
}
#endif

[[maybe_unused]] const bool kHasAllocator = (c10::SetAllocator(kType, &allocator()), true);

}  // namespace

c10::Device standin_device() {
#if QDQBERT_TORCH_HAS_ACCELERATORS
  [[maybe_unused]] static const bool is_accelerator = make_accelerator();
#endif
  return {kType, 0};
}

StandinCounts standin_counts() {
  return {operators, items, to_host, to_device};
}

}  // namespace qdqbert::testing
