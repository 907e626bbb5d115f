// Seconds of one training step (forward, loss, backward, clipping, AdamW) of a question answering model,
// dropout on.
//
//   train_step [--model DIRECTORY | --shape minilm-l6] [--mode qat|float] [--bf16 0|1] [--batch 32]
//              [--dropout 0.1] [--length 176] [--threads 2] [--steps 5] [--checkpointing 0|1]
//              [--device cpu|cuda[:N]] [--serve 1]
//
// With --serve 1 another program sets the pace (train_step_with_pytorch.py): each line on standard input runs
// one step and is answered by its seconds, its loss and the largest resident size so far in MiB; on a GPU the
// most of its memory that tensors held.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>

#include <ATen/Parallel.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/nn/autocast.h"
#include "qdqbert/nn/block_cache.h"
#include "qdqbert/nn/dropout.h"
#include "qdqbert/train/device.h"
#include "qdqbert/train/device_steps.h"

namespace {

using namespace qdqbert;
using Flags = std::map<std::string, std::string>;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Of this program alone; getrusage() would count the one that started it.
double peak_mib(at::Device device) {
  if (!device.is_cpu()) return static_cast<double>(nn::gpu_peak_memory(device)) / (1 << 20);
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

class Run {
 public:
  explicit Run(const Flags& flags)
      : bf16_(flags.at("--bf16") == "1"),
        device_(train::choose_device(train::parse_device(flags.at("--device")), nn::find_gpus()).device) {
    constexpr const char* kClass = "QDQBertForQuestionAnswering";
    if (!flags.at("--model").empty()) {
      model_ = model::load_model(kClass, flags.at("--model"), {}, {}, [&](io::BertConfig& config) {
                 set_dropout(config, flags);
               }).model;
    } else {
      const auto shape = io::builtin_config(flags.at("--shape"));
      if (!shape) fail<UsageError>("[benchmark] there is no shape {}", flags.at("--shape"));
      io::BertConfig config = *shape;
      set_dropout(config, flags);
      model_ = model::make_model(kClass, config);
      model_->init_weights(1);
    }
    const int64_t batch = std::stoll(flags.at("--batch")), length = std::stoll(flags.at("--length"));
    // Token ids that another program can make as well.
    const at::Tensor at = at::arange(batch * length, at::kLong);
    inputs_.input_ids =
        ((at * 7919).remainder(model_->config().vocab_size - 1000) + 1000).view({batch, length});
    inputs_.attention_mask = at::ones_like(inputs_.input_ids);
    inputs_.start_positions = at::arange(batch, at::kLong).remainder(length);
    inputs_.end_positions = (inputs_.start_positions + 3).remainder(length);
    options_.gradient_checkpointing = flags.at("--checkpointing") == "1";
    model_->to(device_);
    inputs_ = train::to_device(inputs_, device_);
    prepare_quantizers(flags.at("--mode") == "qat");
    model_->train();
    optimizer_.emplace(train::trainable_parameters(*model_), train::AdamOptions{});
    if (!device_.is_cpu()) device_steps_.emplace(*optimizer_, 1.0, /*scales_loss=*/false);
  }
  at::Device device() const { return device_; }

  double step() {
    nn::begin_dropout(1, static_cast<uint64_t>(steps_));
    at::Tensor loss;
    {
      std::optional<nn::HalfAutocast> autocast;
      if (bf16_) autocast.emplace(device_);
      loss = model_->forward(inputs_, options_).loss;
    }
    if (device_steps_) return device_step(loss);
    loss.backward();
    update();
    return loss.item<double>();
  }

 private:
  void prepare_quantizers(bool quantize) {
    const at::NoGradGuard no_grad;
    for (const auto& item : model_->named_quantizers()) {
      if (!quantize) {
        item.quantizer->disable();
        continue;
      }
      item.quantizer->disable_quant();
      item.quantizer->enable_calib();
    }
    if (!quantize) return;
    model_->forward(inputs_);
    for (const auto& item : model_->named_quantizers()) {
      item.quantizer->load_calib_amax();
      item.quantizer->enable_quant();
      item.quantizer->disable_calib();
    }
  }

  static void set_dropout(io::BertConfig& config, const Flags& flags) {
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = std::stod(flags.at("--dropout"));
  }

  /// Waits for the device, as whoever times it must.
  double device_step(const at::Tensor& loss) {
    ++steps_;
    device_steps_->backward(loss, 1);
    const nn::ReadBack numbers = device_steps_->step(1e-6, 0, 0, nullptr);
    optimizer_->zero_grad();
    return train::DeviceSteps::read(numbers).loss;
  }

  void update() {
    ++steps_;
    optimizer_->step(1e-6,
                     train::clip_factor(train::gradient_norm(train::trainable_parameters(*model_)), 1.0));
    optimizer_->zero_grad();
  }

  bool bf16_;
  at::Device device_;
  std::shared_ptr<model::PreTrainedModel> model_;
  model::ModelInputs inputs_;
  model::ForwardOptions options_;
  std::optional<train::AdamW> optimizer_;
  std::optional<train::DeviceSteps> device_steps_;
  int64_t steps_ = 0;
};

int run(const Flags& flags) {
  at::set_num_threads(std::stoi(flags.at("--threads")));
  nn::cache_large_tensors();
  Run steps(flags);
  const auto timed = [&] {
    const double start = now(), loss = steps.step();
    std::printf("%.4f %.9g %.0f\n", now() - start, loss, peak_mib(steps.device()));
    std::fflush(stdout);
  };
  if (flags.at("--serve") == "1") {
    for (std::string line; std::getline(std::cin, line);) timed();
  } else {
    for (int i = 0; i < std::stoi(flags.at("--steps")); ++i) timed();
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags = {{"--shape", "minilm-l6"}, {"--model", ""},          {"--mode", "qat"},  {"--bf16", "0"},
                 {"--batch", "32"},        {"--length", "176"},      {"--threads", "2"}, {"--steps", "5"},
                 {"--dropout", "0.1"},     {"--checkpointing", "0"}, {"--serve", ""},    {"--device", "cpu"}};
  try {
    for (int i = 1; i < argc; i += 2) {
      if (!flags.contains(argv[i]) || i + 1 == argc) fail<UsageError>("[benchmark] unknown flag {}", argv[i]);
      flags[argv[i]] = argv[i + 1];
    }
    return run(flags);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
