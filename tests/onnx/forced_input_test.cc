// Records what every quantizer of the shipped model sees on real text, beside its exported file, for
// tests/peer/forced_input.py: each Q node of the file must find the codes that our model finds in the same
// input.
//
// Two files, because FP16 weights lie exactly on rounding ties of their largest magnitude more often than
// chance has it, and one weight whose code differs by one shifts a whole column of outputs: "weights.onnx" is
// the model as it is, for the codes of the weights; in "model.onnx" and in the recording the weights are
// replaced by their quantized values, which every form of the arithmetic leaves as they are.
#include <filesystem>
#include <map>

#include <gtest/gtest.h>

#include "qdqbert/base/file.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/model/onnx_export.h"

#include "tests/onnx/shipped_model.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;

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
  EXPECT_EQ(report.lint.count(onnx::PairFate::kFused), 6 * 16);

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
}

}  // namespace
}  // namespace qdqbert
