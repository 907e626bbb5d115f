// The fused passes of training beside LibTorch's operators, and the promise that threads do not show.
#include <cmath>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "qdqbert/nn/autocast.h"
#include "qdqbert/nn/dropout.h"
#include "qdqbert/nn/gelu.h"
#include "qdqbert/nn/gemm.h"
#include "qdqbert/nn/linear.h"
#include "qdqbert/nn/residual_norm.h"

namespace qdqbert::nn {
namespace {

at::Tensor leaf(at::IntArrayRef shape, double scale = 1) {
  return (at::randn(shape) * scale).requires_grad_();
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// Gradients of sum(y * weight) with a weight that depends on the shape alone.
std::vector<at::Tensor> gradients_of(const at::Tensor& y, const std::vector<at::Tensor>& leaves) {
  for (at::Tensor leaf : leaves) leaf.mutable_grad() = at::Tensor();
  const at::Tensor weight = at::sin(at::arange(y.numel(), at::kFloat)).view(y.sizes());
  (y * weight).sum().backward();
  std::vector<at::Tensor> gradients = {y.detach().clone()};
  for (const at::Tensor& leaf : leaves) gradients.push_back(leaf.grad().clone());
  return gradients;
}

void expect_close(const std::vector<at::Tensor>& ours, const std::vector<at::Tensor>& theirs,
                  double tolerance) {
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_LE(largest_difference(ours[i], theirs[i]),
              tolerance * std::max(1.0, theirs[i].abs().max().item<double>()))
        << "tensor " << i;
  }
}

template <class Compute>
void expect_no_threads(const Compute& compute) {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const std::vector<at::Tensor> one = compute();
  for (const int threads : {2, 3}) {
    at::set_num_threads(threads);
    const std::vector<at::Tensor> several = compute();
    for (size_t i = 0; i < one.size(); ++i)
      EXPECT_TRUE(several[i].equal(one[i])) << "tensor " << i << " with " << threads << " threads";
  }
  at::set_num_threads(before);
}

TEST(Gelu, IsExactButForRoundingForwardAndBackward) {
  const at::Tensor x =
      at::cat({at::linspace(-14, 14, 40001), at::tensor({0.0F, -0.0F, 100.0F, -100.0F})}).requires_grad_();
  // Terms are rounded: a few units in the last place of max(1, |x|).
  const at::Tensor in_double = x.detach().to(at::kDouble).requires_grad_();
  const auto ours = gradients_of(nn::gelu(x), {x}), theirs = gradients_of(at::gelu(in_double), {in_double});
  EXPECT_LE((ours[0] - theirs[0]).div(x.detach().abs().clamp_min(1)).abs().max().item<double>(), 3e-7);
  EXPECT_LE(largest_difference(ours[1], theirs[1]), 1e-6);
  EXPECT_TRUE(std::isnan(nn::gelu(at::tensor({std::nanf("")})).item<float>()));
  const at::NoGradGuard no_grad;
  at::Tensor again = x.detach().clone();
  const at::Tensor over = nn::gelu(again, true);
  EXPECT_TRUE(over.equal(ours[0]));
  EXPECT_EQ(over.data_ptr(), again.data_ptr()) << "written over its input";
}

ResidualNorm make(int64_t rows, int64_t columns, bool has_residual) {
  at::manual_seed(rows * 1000 + columns);
  ResidualNorm o;
  o.x = leaf({rows, columns});
  if (has_residual) o.residual = leaf({rows, columns}, 2);
  o.weight = leaf({columns});
  o.bias = leaf({columns});
  o.epsilon = 1e-5;
  return o;
}

TensorQuantizer quantizer(double amax) {
  TensorQuantizer made(quant::desc_8bit_per_tensor());
  made.replace_amax(at::scalar_tensor(amax, at::kFloat));
  return made;
}

TEST(ResidualNorm, EqualsItsStepsWithAndWithoutQuantizers) {
  for (const auto& [rows, columns] :
       {std::pair<int64_t, int64_t>{1, 1}, {3, 7}, {70, 24}, {300, 48}, {33, 50}}) {
    for (const bool quantizes : {false, true}) {
      for (const bool has_residual : {false, true}) {
        SCOPED_TRACE(::testing::Message() << rows << " x " << columns << (quantizes ? " quantized" : "")
                                          << (has_residual ? " residual" : ""));
        ResidualNorm o = make(rows, columns, has_residual);
        TensorQuantizer local = quantizer(1.7), added = quantizer(3.1);
        if (quantizes) {
          o.local = *PartQuantizer::of(local, quant::Arithmetic::kToolkit);
          o.added = *PartQuantizer::of(added, quant::Arithmetic::kToolkit);
        }
        std::vector<at::Tensor> leaves = {o.x, o.weight, o.bias};
        if (has_residual) leaves.push_back(o.residual);
        const auto ours = gradients_of(residual_norm(o), leaves);
        at::Tensor sum = quantizes ? local.forward(o.x) : o.x;
        if (has_residual) sum = sum + (quantizes ? added.forward(o.residual) : o.residual);
        const auto theirs = gradients_of(at::layer_norm(sum, {columns}, o.weight, o.bias, o.epsilon), leaves);
        // With one column everything is the bias; a row of a few columns may have nearly no variance.
        if (columns > 1) expect_close(ours, theirs, 2e-5);
        const at::NoGradGuard no_grad;
        EXPECT_TRUE(residual_norm(o).equal(ours[0])) << "without gradients";
      }
    }
  }
}

TEST(ResidualNorm, DropsBeforeItQuantizes) {
  ResidualNorm o = make(130, 36, true);
  o.dropout = 0.3;
  TensorQuantizer local = quantizer(1.2);
  o.local = *PartQuantizer::of(local, quant::Arithmetic::kToolkit);
  const std::vector<at::Tensor> leaves = {o.x, o.residual, o.weight, o.bias};
  begin_dropout(4, 2);
  const auto ours = gradients_of(residual_norm(o), leaves);
  begin_dropout(4, 2);
  const at::Tensor sum = local.forward(dropout(o.x, 0.3)) + o.residual;
  expect_close(ours, gradients_of(at::layer_norm(sum, {36}, o.weight, o.bias, o.epsilon), leaves), 2e-5);
  expect_no_threads([&] {
    begin_dropout(4, 2);
    return gradients_of(residual_norm(o), leaves);
  });
  set_dropout_position({});
}

TEST(PartQuantizer, LeavesToTheModuleWhatNeedsTheWholeTensor) {
  EXPECT_TRUE(PartQuantizer::of(quantizer(1), quant::Arithmetic::kAffine).has_value());
  TensorQuantizer off(quant::desc_8bit_per_tensor());
  EXPECT_FALSE(PartQuantizer::of(off, quant::Arithmetic::kToolkit).has_value()) << "dynamic";
  off.disable();
  EXPECT_TRUE(PartQuantizer::of(off, quant::Arithmetic::kToolkit)->is_inert());
  EXPECT_FALSE(PartQuantizer::of(quantizer(-1), quant::Arithmetic::kToolkit).has_value())
      << "refused by forward";
  quant::QuantDescriptor positive = quant::desc_8bit_per_tensor();
  positive.is_unsigned = true;
  TensorQuantizer checked(positive);
  checked.replace_amax(at::scalar_tensor(1.0F));
  EXPECT_FALSE(PartQuantizer::of(checked, quant::Arithmetic::kToolkit).has_value()) << "checks signs";
}

TEST(LinearFunction, EqualsLibTorchsForAnyNumberOfThreads) {
  if (!has_gemm()) GTEST_SKIP() << "this build has no oneDNN, LibTorch's own operator runs";
  for (const auto& [rows, in, out] :
       {std::tuple<int64_t, int64_t, int64_t>{1, 5, 3}, {37, 64, 48}, {5000, 40, 96}, {700, 96, 33}}) {
    at::manual_seed(rows);
    const at::Tensor x = leaf({rows, in}), weight = leaf({out, in}), bias = leaf({out});
    const std::vector<at::Tensor> leaves = {x, weight, bias};
    const auto ours = gradients_of(nn::linear(x, weight, bias), leaves);
    expect_close(ours, gradients_of(at::linear(x, weight, bias), leaves), 1e-5);
    expect_no_threads([&] { return gradients_of(nn::linear(x, weight, bias), leaves); });
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(nn::linear(x, weight, at::Tensor()).equal(nn::linear(x, weight, at::zeros({out}))));
  }
}

TEST(LinearFunction, RoundsBothPassesUnderAutocast) {
  if (!has_gemm()) GTEST_SKIP() << "this build has no oneDNN, LibTorch's own operator runs";
  if (!has_bf16_gemm()) GTEST_SKIP() << "this processor has no BF16 products";
  at::manual_seed(2);
  const at::Tensor x = leaf({300, 64}), weight = leaf({48, 64}), bias = leaf({48});
  const std::vector<at::Tensor> leaves = {x, weight, bias};
  const auto exact = gradients_of(nn::linear(x, weight, bias), leaves);
  const HalfAutocast autocast;
  const auto rounded = gradients_of(nn::linear(x, weight, bias), leaves);
  for (size_t i = 0; i < 3; ++i) {
    // Two operands, each off by at most 2^-9 of its value.
    const double found = ((rounded[i] - exact[i]).norm() / exact[i].norm()).item<double>();
    EXPECT_GT(found, 1e-4) << i;
    EXPECT_LT(found, 2.0 / 512) << i;
  }
  EXPECT_TRUE(rounded[3].equal(exact[3])) << "sums of gradients are not rounded";
}

TEST(QuantLinear, QuantizesItsWeightOncePerVersion) {
  QuantLinear layer(16, 8, true, {});
  at::manual_seed(3);
  {
    const at::NoGradGuard no_grad;
    layer.weight.copy_(at::randn({8, 16}));
    layer.weight_quantizer().replace_amax(layer.weight.abs().amax(1, true) * 0.6);
    layer.input_quantizer().replace_amax(at::scalar_tensor(2.0F));
  }
  layer.train();
  const at::Tensor x = leaf({9, 16});
  const auto steps = [&] {
    const at::Tensor q = layer.weight_quantizer().forward(layer.weight);
    return gradients_of(at::linear(layer.input_quantizer().forward(x), q, layer.bias),
                        {x, layer.weight, layer.bias});
  };
  const auto fused = [&] { return gradients_of(layer.forward(x), {x, layer.weight, layer.bias}); };
  expect_close(fused(), steps(), 1e-5);
  expect_close(fused(), steps(), 1e-5);
  {
    const at::NoGradGuard no_grad;
    layer.weight.mul_(1.5);
  }
  expect_close(fused(), steps(), 1e-5);
  layer.weight_quantizer().set_amax(layer.weight_quantizer().amax() * 0.5);
  expect_close(fused(), steps(), 1e-5);
  const at::NoGradGuard no_grad;
  EXPECT_LE(largest_difference(layer.forward(x),
                               at::linear(layer.input_quantizer().forward(x),
                                          layer.weight_quantizer().forward(layer.weight), layer.bias)),
            1e-5);
}

}  // namespace
}  // namespace qdqbert::nn
