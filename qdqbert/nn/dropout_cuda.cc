#include "qdqbert/nn/dropout_cuda.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/autograd/custom_function.h>

#include "qdqbert/base/error.h"
#include "qdqbert/nn/kernels/dropout_cuda.h"
#include "qdqbert/nn/kernels/fake_quant_cuda.h"

namespace qdqbert::nn {
namespace {

namespace ag = torch::autograd;

CudaType type_of(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat  ? CudaType::kFloat
         : x.scalar_type() == at::kHalf ? CudaType::kHalf
                                        : CudaType::kBf16;
}

at::Tensor dropped(const at::Tensor& x, const RandomStream& stream, uint32_t threshold, float scale) {
  const c10::cuda::CUDAGuard device(x.device());
  const at::Tensor in = x.contiguous(), y = at::empty_like(in);
  const int error = dropout_cuda(
      {in.data_ptr(), y.data_ptr(), type_of(in), static_cast<size_t>(in.numel()), stream, threshold, scale},
      c10::cuda::getCurrentCUDAStream());
  if (error != 0) fail<Error>("[dropout] the GPU refused the kernel: {}", cuda_error_text(error));
  return y;
}

class DropoutOnCuda : public ag::Function<DropoutOnCuda> {
 public:
  static at::Tensor forward(ag::AutogradContext* context, const at::Tensor& x, const RandomStream& stream,
                            uint32_t threshold, float scale) {
    auto& data = context->saved_data;
    data["key"] = static_cast<int64_t>(stream.key);
    data["step"] = static_cast<int64_t>(stream.step);
    data["call"] = static_cast<int64_t>(stream.call);
    data["threshold"] = static_cast<int64_t>(threshold);
    data["scale"] = static_cast<double>(scale);
    return dropped(x, stream, threshold, scale);
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    auto& data = context->saved_data;
    const RandomStream stream{static_cast<uint64_t>(data["key"].toInt()),
                              static_cast<uint64_t>(data["step"].toInt()),
                              static_cast<uint32_t>(data["call"].toInt())};
    const at::Tensor to_x = dropped(gradients[0], stream, static_cast<uint32_t>(data["threshold"].toInt()),
                                    static_cast<float>(data["scale"].toDouble()));
    return {to_x, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

bool has_cuda_dropout(const at::Tensor& x) {
  return x.is_cuda() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16);
}

at::Tensor dropout_on_cuda(const at::Tensor& x, const RandomStream& stream, uint32_t threshold, float scale) {
  return DropoutOnCuda::apply(x, stream, threshold, scale);
}

}  // namespace qdqbert::nn
