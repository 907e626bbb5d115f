#include "tests/support/standin_device.h"

#include <atomic>

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>
#include <torch/version.h>

#include "tests/support/standin_aliases.h"

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 5)
#define QDQBERT_TORCH_HAS_ACCELERATORS 1
#include <ATen/detail/PrivateUse1HooksInterface.h>
#endif

namespace qdqbert::testing {
namespace {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;

std::atomic<int64_t> operators{0}, items{0}, to_host{0}, to_device{0};

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
      if (!tensor.defined() || is_on_standin(tensor) || (tensor.dim() == 0 && !written)) return;
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
  return at::detail::empty_generic(sizes, &standin_allocator(), kKeys, c10::dtype_or_default(type), format);
}

at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, OptionalType type, OptionalLayout,
                         OptionalDevice, OptionalFlag) {
  return at::detail::empty_strided_generic(sizes, strides, &standin_allocator(), kKeys,
                                           c10::dtype_or_default(type));
}

/// The only operator that takes tensors of two devices.
at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  if (is_on_standin(from) && !is_on_standin(to)) ++to_host;
  if (!is_on_standin(from) && is_on_standin(to)) ++to_device;
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

[[maybe_unused]] const bool kHasAllocator = (c10::SetAllocator(kType, &standin_allocator()), true);

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
