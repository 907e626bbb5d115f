// Computes a loss and its gradients with an installed library.
#include <cstdio>

#include "qdqbert/training.h"

int main() {
  qdqbert::io::BertConfig config;
  config.vocab_size = 50;
  config.hidden_size = 24;
  config.num_attention_heads = 3;
  config.num_hidden_layers = 1;
  config.intermediate_size = 40;
  config.max_position_embeddings = 16;
  const auto model = qdqbert::model::make_model("QDQBertForMaskedLM", config, {});
  model->init_weights(5);
  for (const auto& item : model->named_quantizers()) {
    item.quantizer->disable_quant();
    item.quantizer->enable_calib();
  }
  qdqbert::model::ModelInputs inputs;
  inputs.input_ids = at::arange(18, at::kLong).view({2, 9});
  {
    const at::NoGradGuard no_grad;
    model->forward(inputs);
  }
  for (const auto& item : model->named_quantizers()) {
    item.quantizer->load_calib_amax();
    item.quantizer->enable_quant();
    item.quantizer->disable_calib();
  }
  inputs.labels = inputs.input_ids;
  const at::Tensor loss = model->forward(inputs).loss;
  loss.backward();
  for (const auto& parameter : model->named_parameters()) {
    if (parameter.value().grad().defined()) continue;
    std::printf("%s has no gradient\n", parameter.key().c_str());
    return 1;
  }
  std::printf("qdqbert %s: loss %.4f\n", qdqbert::kVersion, loss.item<double>());
  return 0;
}
