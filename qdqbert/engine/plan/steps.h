// The steps that a plan is made of.
#pragma once

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "qdqbert/engine/float/linear.h"
#include "qdqbert/engine/plan/plan.h"

namespace qdqbert::engine {

/// One quantized copy of a value.
struct CodeCopy {
  Stored at;
  float scale = 0;
};

/// LayerNorm((word + type) + position), written as codes and floats; without gamma the sum itself, as floats.
class EmbeddingsStep : public Step {
 public:
  using Step::Step;
  void run(Execution& execution) const override;
  size_t scratch(size_t longest_text) const override;

  size_t hidden = 0;
  const float* words = nullptr;      ///< [V][H]
  const float* types = nullptr;      ///< [token types][H]; null: none are added
  const float* positions = nullptr;  ///< [P][H]; null: no absolute positions
  std::vector<float> gamma, beta;    ///< padded to a multiple of 16
  float epsilon = 0;
  std::vector<CodeCopy> codes;
  std::optional<Stored> floats;
};

/// Columns [first, first + count) of a linear's result: one quantizer,
/// and whether the codes feed a GEMM as A.
struct ColumnRange {
  size_t first = 0, count = 0;
  float scale = 0;
  bool flipped = true;
};

/// activation(x . w + bias), as codes or floats.
class LinearS8Step : public Step {
 public:
  /// No ranges: floats.
  LinearS8Step(PlanStep what, const GemmS8Kernel& kernel, PackedLinear linear,
               const std::vector<ColumnRange>& ranges);
  void run(Execution& execution) const override;
  size_t scratch(size_t longest_text) const override;
  PackedLinear* weights() override { return &linear_; }

  Stored input, output;
  RowKind rows = RowKind::kTokens;
  Activation activation = Activation::kNone;
  float clip = std::numeric_limits<float>::infinity();

 private:
  PackedLinear linear_;
  std::vector<float> inverse_;
  std::vector<uint8_t> panel_flip_;
};

/// LayerNorm(fq(x . w + bias) + residual), as codes and floats.
class LinearNormS8Step : public Step {
 public:
  LinearNormS8Step(PlanStep what, PackedLinear linear, ResidualNorm norm);
  void run(Execution& execution) const override;
  size_t scratch(size_t longest_text) const override;
  PackedLinear* weights() override { return &linear_; }

  Stored input, residual;
  std::optional<Stored> local;  ///< where needs_local_codes()
  std::vector<Stored> codes;    ///< one per norm.output_scales
  std::optional<Stored> floats;

 private:
  PackedLinear linear_;
  ResidualNorm norm_;
  std::vector<float> local_inverse_;
};

class AttentionS8Step : public Step {
 public:
  AttentionS8Step(PlanStep what, const GemmS8Kernel& kernel, AttentionS8 attention)
      : Step(std::move(what)), kernel_(kernel), attention_(std::move(attention)) {}
  void run(Execution& execution) const override;
  size_t scratch(size_t longest_text) const override;

  Stored query, key, value, output;
  std::optional<Stored> query_floats, key_floats;  ///< where scores depend on distances
  RowKind sources = RowKind::kTokens;              ///< rows that keys and values are of
  size_t cache_layer = 0;                          ///< of causal attention
  size_t width = 0;                                ///< heads * head size

 private:
  std::vector<SeenKeys> seen_keys(Execution& execution) const;
  const GemmS8Kernel& kernel_;
  AttentionS8 attention_;
};

/// encoder_hidden_states as rows of floats.
class SourcesStep : public Step {
 public:
  using Step::Step;
  void run(Execution& execution) const override;

  Stored output;
  size_t columns = 0;
};

/// x . w + bias in float, with one order of summation on all ISAs.
class LinearF32Step : public Step {
 public:
  using Step::Step;
  void run(Execution& execution) const override;

  Stored input, output;
  RowKind rows = RowKind::kTokens;
  size_t k = 0, n = 0;
  std::vector<float> weight;  ///< as pack_f32() leaves it
  std::vector<float> bias;    ///< padded to a multiple of 16
};

/// activation(x . w + bias) by oneDNN.
class FloatLinearStep : public Step {
 public:
  FloatLinearStep(PlanStep what, FloatLinear linear) : Step(std::move(what)), linear_(std::move(linear)) {}
  void run(Execution& execution) const override;

  Stored input, output;
  RowKind rows = RowKind::kTokens;
  Activation activation = Activation::kNone;
  float clip = std::numeric_limits<float>::infinity();

 private:
  FloatLinear linear_;
};

/// Attention by oneDNN, on operands that are already fake-quantized where they should be.
class FloatAttentionStep : public Step {
 public:
  using Step::Step;
  void run(Execution& execution) const override;

  Stored query, key, value, output;
  size_t heads = 0, head_size = 0;
  float score_factor = 1;
  float probability_scale = 0;  ///< 0: not quantized
  bool causal = false;
  RowKind sources = RowKind::kTokens;              ///< rows that keys and values are of
  std::optional<Stored> query_floats, key_floats;  ///< before quantization, where scores depend on distances
  std::vector<float> distances;                    ///< [2 * positions - 1][head size]
  bool by_key = false;
};

/// x rounded to codes and back.
class FakeQuantizeStep : public Step {
 public:
  using Step::Step;
  void run(Execution& execution) const override;

  Stored input, output;
  RowKind rows = RowKind::kTokens;
  size_t columns = 0;
  float scale = 0;
};

class ActivationStep : public Step {
 public:
  using Step::Step;
  void run(Execution& execution) const override;

  Stored input, output;
  RowKind rows = RowKind::kTokens;
  size_t columns = 0;
  Activation activation = Activation::kNone;
  float clip = std::numeric_limits<float>::infinity();
};

/// LayerNorm over float rows, or over sums of two.
class NormStep : public Step {
 public:
  using Step::Step;
  void run(Execution& execution) const override;
  size_t scratch(size_t longest_text) const override;

  Stored input;
  std::optional<Stored> residual;
  RowKind rows = RowKind::kTokens;
  size_t columns = 0;
  std::vector<float> gamma, beta;  ///< padded to a multiple of 16
  float epsilon = 0;
  std::vector<CodeCopy> codes;
  std::optional<Stored> floats;
};

/// Codes of float rows.
class QuantizeStep : public Step {
 public:
  using Step::Step;
  void run(Execution& execution) const override;

  Stored input, output;
  RowKind rows = RowKind::kTokens;
  size_t columns = 0;
  float scale = 0;
  bool flipped = true;
};

/// Rows of the wanted tokens.
class WantedRowsStep : public Step {
 public:
  using Step::Step;
  void run(Execution& execution) const override;

  Stored input, output;
  size_t columns = 0;
};

/// Row b of the output is the first token of text b.
class FirstTokenStep : public Step {
 public:
  using Step::Step;
  void run(Execution& execution) const override;

  Stored input, output;
  size_t columns = 0;
};

}  // namespace qdqbert::engine
