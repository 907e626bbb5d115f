// What training needs of the layers: fused passes beside the general ones, and results that
// do not show how many threads there are.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "qdqbert/nn/autocast.h"
#include "qdqbert/nn/gemm.h"

#include "tests/model/training_step.h"

namespace qdqbert::model {
namespace {

class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before_); }

 private:
  int before_;
};

TEST(Training, BitsDoNotDependOnThreads) {
  if (!nn::has_gemm()) GTEST_SKIP() << "only oneDNN's products are promised to";
  for (const Shape& shape : {kTiny, kMedium}) {
    for (const bool quantizes : {true, false}) {
      for (const bool bf16 : {false, true}) {
        if (bf16 && !nn::has_bf16_gemm()) continue;
        SCOPED_TRACE(::testing::Message()
                     << shape.hidden << (quantizes ? " QAT" : " float") << (bf16 ? " BF16" : ""));
        Step step(shape);
        if (!quantizes)
          for (const auto& item : step.model->named_quantizers()) item.quantizer->disable();
        std::optional<nn::HalfAutocast> autocast;
        if (bf16) autocast.emplace();
        std::vector<std::vector<at::Tensor>> results;
        for (const int threads : {1, 2, 3}) {
          const Threads set(threads);
          results.push_back(step.run());
        }
        EXPECT_GT(results[0][5].abs().max().item<double>(), 0);
        expect_same_bits(step, results[0], results[1]);
        expect_same_bits(step, results[0], results[2]);
      }
    }
  }
}

TEST(Training, RepeatedLayersGiveTheSameBits) {
  Step step(kTiny, 0.2);
  ForwardOptions again;
  again.gradient_checkpointing = true;
  for (const bool bf16 : {false, true}) {
    SCOPED_TRACE(bf16 ? "BF16" : "float32");
    expect_same_bits(step, step.run({}, bf16), step.run(again, bf16));
  }
}

TEST(Training, FusedPassesEqualTheGeneralOnes) {
  bool same_bits = true;
  for (const double dropout : {0.0, 0.2}) {
    for (const auto arithmetic : {quant::Arithmetic::kToolkit, quant::Arithmetic::kAffine}) {
      Step step(kTiny, dropout);
      ForwardOptions options;
      options.arithmetic = arithmetic;
      const auto ours = step.run(options);
      // A quantizer that calibrates collects whole tensors, so nothing is fused around it.
      for (const auto& item : step.model->named_quantizers()) item.quantizer->enable_calib();
      const auto theirs = step.run(options);
      for (size_t i = 0; i < ours.size(); ++i) {
        same_bits = same_bits && ours[i].equal(theirs[i]);
        // Rounding of float32 sums of this size; a code that flipped would show a hundred times as much.
        EXPECT_LE((ours[i] - theirs[i]).abs().max().item<double>(),
                  2e-5 * std::max(1.0, theirs[i].abs().max().item<double>()))
            << step.name(i) << ", dropout " << dropout;
      }
    }
  }
  EXPECT_FALSE(same_bits) << "the general passes round in other places; this compared the fused ones twice";
}

TEST(Training, HeadMasksAndWantedProbabilitiesReachTheGradient) {
  Step step(kTiny, 0.0);
  step.inputs.head_mask = at::tensor({1.0F, 0.0F, 0.5F});
  ForwardOptions shown;
  shown.output_attentions = true;
  const auto fused = step.run(), general = step.run(shown);
  for (size_t i = 0; i < fused.size(); ++i) {
    EXPECT_LE((fused[i] - general[i]).abs().max().item<double>(),
              2e-5 * std::max(1.0, general[i].abs().max().item<double>()))
        << step.name(i);
  }
  const ModelOutputs outputs = step.model->forward(step.inputs, shown);
  EXPECT_TRUE(outputs.attentions.at(0).requires_grad());
}

}  // namespace
}  // namespace qdqbert::model
