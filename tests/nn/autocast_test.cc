// BF16 products: as exact as eight bits of mantissa are, and only where they are asked for.
#include "qdqbert/nn/autocast.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "qdqbert/nn/linear.h"

namespace qdqbert::nn {
namespace {

double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kFloat) - b).norm() / b.norm()).item<double>();
}

TEST(HalfAutocast, LastsAsLongAsItsObject) {
  EXPECT_FALSE(HalfAutocast::is_on());
  {
    const HalfAutocast outer;
    EXPECT_TRUE(HalfAutocast::is_on());
    { const HalfAutocast inner; }
    EXPECT_TRUE(HalfAutocast::is_on());
  }
  EXPECT_FALSE(HalfAutocast::is_on());
}

TEST(HalfAutocast, RoundsOperandsOfQuantizedLayersOnly) {
  const at::NoGradGuard no_grad;
  at::manual_seed(1);
  QuantLinear layer(64, 48, true, {});
  layer.weight.copy_(at::randn({48, 64}));
  layer.bias.copy_(at::randn({48}));
  layer.eval();
  Linear head(64, 3);
  head.weight.copy_(at::randn({3, 64}));
  const at::Tensor x = at::randn({5, 64}), exact = layer.forward(x), logits = head.forward(x);
  const at::Tensor codes = layer.input_quantizer().forward(x);
  const HalfAutocast autocast;
  // A rounded operand is off by at most 2^-9 of its value, so are both together and the rounded result;
  // independent errors average out below their bound.
  const double found = relative_difference(layer.forward(x), exact);
  EXPECT_GT(found, 1e-4);
  EXPECT_LT(found, 3.0 / 512);
  EXPECT_TRUE(at::equal(head.forward(x), logits)) << "heads stay in float32";
  EXPECT_TRUE(at::equal(layer.input_quantizer().forward(x), codes)) << "quantizers stay in float32";
  const at::Tensor half = x.to(at::kBFloat16);
  EXPECT_EQ(layer.input_quantizer().forward(half).scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace qdqbert::nn
