// Records what every quantizer of the shipped model sees on real text, beside its exported
// file, for tests/peer/forced_input.py: each Q node of the file must find the codes
// that our model finds in the same input.
//
// Two files, because FP16 weights lie exactly on rounding ties of their largest magnitude more often than
// chance has it, and one weight whose code differs by one shifts a whole column of outputs: "weights.onnx" is
// the model as it is, for the codes of the weights; in "model.onnx" and in the recording the weights are
// replaced by their quantized values, which every form of the arithmetic leaves as they are.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/engine/import_onnx.h"
#include "qdqbert/engine/passes/passes.h"
#include "qdqbert/engine/plan/lower.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/model/onnx_export.h"

#include "tests/onnx/shipped_model.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;
using engine::Graph;
using engine::Node;
using engine::ValueId;

/// What every quantizer saw, as rows [T][columns] of the packed batch; heads lie side by side again.
class Recorded {
 public:
  Recorded(const io::SafetensorsFile& file, const model::ModelInputs& inputs)
      : file_(file), mask_(inputs.attention_mask) {}

  std::vector<float> rows(const std::string& quantizer) const {
    const TensorView& view = file_.at("recorded." + quantizer);
    std::vector<int64_t> shape(view.shape.begin(), view.shape.end());
    const std::vector<float> values = to_float32(view);
    at::Tensor x = at::tensor(values).reshape(shape);
    const bool transposed = quantizer.find("matmul_k_input") != std::string::npos;
    if (x.dim() == 4)
      x = x.permute(transposed ? std::vector<int64_t>{0, 3, 1, 2} : std::vector<int64_t>{0, 2, 1, 3});
    if (x.dim() == 4) x = x.reshape({x.size(0), x.size(1), -1});
    const at::Tensor kept = x.index({mask_.to(at::kBool)}).contiguous();
    return {kept.data_ptr<float>(), kept.data_ptr<float>() + kept.numel()};
  }
  float scale(const std::string& quantizer) const {
    return to_float32(file_.at("amax." + quantizer)).at(0) / 127.0f;
  }
  std::vector<uint32_t> offsets() const {
    std::vector<uint32_t> ends = {0};
    for (int64_t b = 0; b < mask_.size(0); ++b)
      ends.push_back(ends.back() + static_cast<uint32_t>(mask_[b].sum().item<int64_t>()));
    return ends;
  }

 private:
  const io::SafetensorsFile& file_;
  at::Tensor mask_;
};

/// A graph of one step of the engine whose operands are recorded rows:
/// each is a table that token t looks up at t.
class OneStep {
 public:
  explicit OneStep(size_t tokens) : tokens_(static_cast<int64_t>(tokens)) {
    graph_.name = "one step";
    ids_ = graph_.add_value("input_ids");
    graph_.values[ids_].dtype = DType::kI64;
    graph_.values[ids_].shape = Shape{-1, -1};
    graph_.inputs = {ids_};
  }
  ValueId rows(const std::vector<float>& values) {
    const Shape shape = {tokens_, static_cast<int64_t>(values.size()) / tokens_};
    const ValueId table =
        graph_.add_constant("table", engine::tensor_of(make_tensor(shape, std::span<const float>(values))));
    return add("qdqbert.Embeddings", {ids_, engine::kNoValue, table, engine::kNoValue, engine::kNoValue}, {});
  }
  ValueId add(const std::string& op, std::vector<ValueId> inputs,
              std::map<std::string, engine::Attribute> attributes) {
    const ValueId out = graph_.add_value(op + std::to_string(graph_.nodes.size()));
    graph_.nodes.push_back({op, op, 17, std::move(inputs), {out}, std::move(attributes)});
    return out;
  }
  /// A node of the fused graph over other operands; its constants come along.
  ValueId copy(const Graph& from, const Node& node, std::vector<ValueId> operands) {
    for (size_t i = operands.size(); i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      operands.push_back(
          id == engine::kNoValue ? id : graph_.add_constant(from.values[id].name, *from.values[id].constant));
    }
    return add(node.op, std::move(operands), node.attributes);
  }
  /// Codes of `result` under `scale`.
  std::vector<float> codes(ValueId result, float scale, const Recorded& recorded) {
    const ValueId out = add("qdqbert.FakeQuantize", {result}, {{"scale", scale}});
    graph_.outputs = {out};
    const engine::Lowered lowered = engine::lower(graph_, preferred_isa(), engine::Precision::kAuto);
    EXPECT_TRUE(lowered.plan) << lowered.reason;
    engine::PackedBatch batch;
    const std::vector<uint32_t> offsets = recorded.offsets();
    for (int32_t t = 0; t < tokens_; ++t) batch.input_ids.push_back(t);
    batch.token_type_ids = batch.position_ids = std::vector<int32_t>(batch.input_ids.size(), 0);
    for (size_t b = 0; b + 1 < offsets.size(); ++b) {
      batch.segments.push_back({offsets[b], offsets[b + 1] - offsets[b]});
      batch.longest = std::max<size_t>(batch.longest, offsets[b + 1] - offsets[b]);
    }
    engine::Execution execution(*lowered.plan, 1, -1);
    execution.begin(batch);
    for (const auto& step : lowered.plan->steps) step->run(execution);
    const engine::PlanOutput& output = lowered.plan->outputs.at(0);
    std::vector<float> codes;
    for (int64_t t = 0; t < tokens_; ++t)
      for (size_t j = 0; j < output.columns; ++j)
        codes.push_back(std::nearbyint(
            execution.floats(output.floats)[static_cast<size_t>(t) * output.floats.ld + j] / scale));
    return codes;
  }

 private:
  int64_t tokens_;
  Graph graph_;
  ValueId ids_ = 0;
};

struct Tally {
  size_t codes = 0, differing = 0;
  float most = 0;
};

void count(Tally& tally, const std::vector<float>& found, const std::vector<float>& recorded, float scale) {
  ASSERT_EQ(found.size(), recorded.size());
  for (size_t i = 0; i < found.size(); ++i) {
    const float expected = std::clamp(std::nearbyint(recorded[i] / scale), -128.0f, 127.0f);
    ++tally.codes;
    tally.differing += found[i] != expected;
    tally.most = std::max(tally.most, std::fabs(found[i] - expected));
  }
}

/// Each quantizer behind a linear layer, an attention or a LayerNorm: what the engine's step makes of what
/// our model had in front of it.
Tally engine_tally(const fs::path& file, const Recorded& recorded, size_t tokens) {
  Graph graph = engine::import_onnx(file);
  engine::run_passes(graph);
  const auto find = [&](const std::string& name) -> const Node& {
    for (const Node& node : graph.nodes)
      if (node.name.find(name) != std::string::npos && node.op.starts_with("qdqbert.")) return node;
    fail("[test] no node {}", name);
  };
  Tally tally;
  const auto check = [&](OneStep& step, ValueId result, const std::string& quantizer) {
    const float scale = recorded.scale(quantizer);
    count(tally, step.codes(result, scale, recorded), recorded.rows(quantizer), scale);
  };
  for (int l = 0; l < 6; ++l) {
    const std::string layer = fmt::format("bert.encoder.layer.{}.", l),
                      path = fmt::format("encoder/layer.{}/", l);
    const std::string self = layer + "attention.self.";
    for (const auto& [linear, quantizer] :
         {std::pair("query", "matmul_q"), std::pair("key", "matmul_k"), std::pair("value", "matmul_v")}) {
      OneStep step(tokens);
      const ValueId x = step.rows(recorded.rows(self + linear + "._input_quantizer"));
      check(step, step.copy(graph, find(path + "attention/self/" + linear + "/"), {x}),
            self + quantizer + "_input_quantizer");
    }
    {
      OneStep step(tokens);
      std::vector<ValueId> operands;
      for (const char* quantizer : {"matmul_q", "matmul_k", "matmul_v"})
        operands.push_back(step.rows(recorded.rows(self + quantizer + "_input_quantizer")));
      const auto attention = std::find_if(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) {
        return node.op == "qdqbert.Attention" && node.name.find(path) != std::string::npos;
      });
      if (attention == graph.nodes.end()) fail("[test] no attention in {}", path);
      check(step, step.copy(graph, *attention, operands), layer + "attention.output.dense._input_quantizer");
    }
    for (const std::string block : {"attention.output", "output"}) {
      const bool first = block == "attention.output";
      const std::string next =
          first ? layer + "intermediate.dense._input_quantizer"
                : fmt::format("bert.encoder.layer.{}.attention.self.query._input_quantizer", l + 1);
      if (!first && l == 5) continue;  // the last hidden state meets no quantizer
      OneStep step(tokens);
      const ValueId x = step.rows(recorded.rows(layer + block + ".dense._input_quantizer"));
      const ValueId residual = step.rows(recorded.rows(layer + block + ".add_residual_input_quantizer"));
      const std::string folder = path + (first ? "attention/output/" : "output/");
      const ValueId local = step.copy(graph, find("/" + folder + "dense/"), {x});
      check(step, step.copy(graph, find("/" + folder + "LayerNorm/"), {local, residual}), next);
    }
    OneStep step(tokens);
    const ValueId x = step.rows(recorded.rows(layer + "intermediate.dense._input_quantizer"));
    const ValueId wide = step.copy(graph, find(path + "intermediate/dense/"), {x});
    check(step, step.copy(graph, find(path + "intermediate/intermediate_act_fn/"), {wide}),
          layer + "output.dense._input_quantizer");
  }
  return tally;
}

TEST(ForcedInput, RecordsTheShippedModel) {
  const fs::path out = fs::path(QDQBERT_BINARY_DIR) / "peer-files" / "forced";
  fs::remove_all(out);
  fs::create_directories(out);
  const auto model = testing::shipped_model("percentile-99.999");
  model::export_onnx(*model, out / "weights.onnx");
  const at::NoGradGuard no_grad;
  for (const model::NamedLinear& item : model->named_quant_linears())
    item.linear->weight.copy_(item.linear->quantized_weight({quant::Arithmetic::kAffine}));
  const auto report = model::export_onnx(*model, out / "model.onnx");
  EXPECT_TRUE(report.checked);
  EXPECT_EQ(report.lint.count(onnx::PairFate::kFused), 6 * 14);

  const auto shipped = testing::shipped_questions(40);
  const model::ModelInputs inputs = testing::batch_of(shipped.features, {3, 17});
  std::map<std::string, at::Tensor> tensors = {{"input_ids", inputs.input_ids},
                                               {"attention_mask", inputs.attention_mask},
                                               {"token_type_ids", inputs.token_type_ids}};
  model::ForwardOptions options;
  options.tap = [&](const std::string& name, const at::Tensor& x) {
    if (name.find("_weight_quantizer") == std::string::npos)
      tensors["recorded." + name] = x.detach().clone().contiguous();
  };
  const model::ModelOutputs outputs = model->forward(inputs, options);
  tensors["output_start_logits"] = outputs.start_logits.contiguous();
  tensors["output_end_logits"] = outputs.end_logits.contiguous();
  for (const model::NamedQuantizer& item : model->named_quantizers())
    tensors["amax." + item.name] = item.quantizer->amax().reshape({-1}).contiguous();
  EXPECT_EQ(tensors.size(), 3u + 2u + 6 * 14u + 6 * 20u);

  std::vector<io::NamedTensor> views;
  for (const auto& [name, tensor] : tensors)
    views.push_back(
        {name,
         {tensor.scalar_type() == at::kLong ? DType::kI64 : DType::kF32,
          Shape(tensor.sizes().vec()),
          {static_cast<const std::byte*>(tensor.data_ptr()), static_cast<size_t>(tensor.nbytes())}}});
  io::write_safetensors(out / "recorded.safetensors", views);

  const auto file = io::SafetensorsFile::open(out / "recorded.safetensors");
  const Recorded recorded(file, inputs);
  const Tally tally = engine_tally(out / "model.onnx", recorded, recorded.offsets().back());
  std::printf("the engine: %zu of %zu codes differ, by %g at most\n", tally.differing, tally.codes,
              tally.most);
  EXPECT_GT(tally.codes, size_t{1} << 20);
  EXPECT_LE(static_cast<double>(tally.differing), 1e-4 * static_cast<double>(tally.codes));
  EXPECT_LE(tally.most, 1.0f);
}

}  // namespace
}  // namespace qdqbert
