// The kernels on a GPU against quant/. Built where nvcc was found, run where there is a GPU.
#include "qdqbert/nn/kernels/fake_quant_cuda.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "tests/nn/fake_quant_cases.h"

namespace qdqbert::nn {
namespace {

template <class T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) {
    EXPECT_EQ(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
              cudaSuccess);
  }
  explicit OnDevice(size_t count) {
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)), cudaSuccess);
  }
  ~OnDevice() { cudaFree(data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  T* data() { return data_; }
  std::vector<T> values(size_t count) const {
    std::vector<T> result(count);
    EXPECT_EQ(cudaMemcpy(result.data(), data_, count * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return result;
  }

 private:
  T* data_ = nullptr;
};

class FakeQuantCuda : public ::testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) GTEST_SKIP() << "no GPU on this machine";
  }
};

// The parameter is what the tensor's address is off from 16 bytes, in elements.
TEST_P(FakeQuantCuda, HasTheBitsOfQuant) {
  const size_t shift = GetParam();
  for (const auto& item : testing::fake_quant_cases()) {
    const size_t count = item.x.size();
    std::vector<float> wanted(count), wanted_gradient(count), gradient(count);
    quant::fake_quant(item.x, item.amax, item.params, wanted);
    for (size_t i = 0; i < count; ++i) gradient[i] = static_cast<float>(i % 17) - 8.5F;
    quant::fake_quant_backward(item.x, item.amax, item.params, gradient, wanted_gradient);

    std::vector<float> shifted(shift);
    shifted.insert(shifted.end(), item.x.begin(), item.x.end());
    OnDevice<float> x(shifted), amax(item.amax.values), scratch(cuda_fake_quant_scratch(item.amax.channels));
    OnDevice<uint32_t> mask(cuda_mask_words(count));
    const ElementBounds bounds{quant::min_bound(item.params),
                               quant::max_bound(item.params.num_bits, item.params.is_unsigned),
                               item.params.is_unsigned};
    ASSERT_EQ(fake_quant_cuda({x.data() + shift, x.data() + shift, count, amax.data(), item.amax.channels,
                               item.amax.inner, bounds, scratch.data(), mask.data()},
                              nullptr),
              cudaSuccess);
    const std::vector<float> found = x.values(count + shift);
    for (size_t i = 0; i < count; ++i)
      ASSERT_TRUE(testing::same_value(found[i + shift], wanted[i]))
          << item.name << ", element " << i << ": " << found[i + shift] << ", quant/ gives " << wanted[i];

    OnDevice<float> to_y(gradient);
    ASSERT_EQ(pass_marked_cuda(to_y.data(), mask.data(), count, to_y.data(), nullptr), cudaSuccess);
    ASSERT_EQ(to_y.values(count), wanted_gradient) << item.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Alignment, FakeQuantCuda, ::testing::Values(0, 1));

}  // namespace
}  // namespace qdqbert::nn
