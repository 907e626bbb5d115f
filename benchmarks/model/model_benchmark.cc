// Seconds of a fake-quantized and of a float forward pass, ours beside the original's operator sequence
// (eager_model.h) in the same process, turn by turn; medians. The outputs are compared before anything is
// timed. usage: model_benchmark [--shape minilm-l6] [--batch 8] [--length 384] [--threads 2] [--rounds 5]
// [--json FILE]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>

#include <ATen/Parallel.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

#include "benchmarks/model/eager_model.h"

namespace {

using namespace qdqbert;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

void calibrate(model::PreTrainedModel& model, const model::ModelInputs& inputs) {
  for (const auto& item : model.named_quantizers()) {
    item.quantizer->disable_quant();
    item.quantizer->enable_calib();
  }
  model.forward(inputs);
  for (const auto& item : model.named_quantizers()) {
    item.quantizer->load_calib_amax();
    item.quantizer->enable_quant();
    item.quantizer->disable_calib();
  }
}

int run(std::map<std::string, std::string> flags) {
  const auto number = [&](const char* name) { return std::stoll(flags.at(name)); };
  const auto shape = io::builtin_config(flags.at("--shape"));
  if (!shape) fail<UsageError>("[benchmark] there is no shape {}", flags.at("--shape"));
  at::set_num_threads(static_cast<int>(number("--threads")));
  const at::NoGradGuard no_grad;
  model::QDQBertForQuestionAnswering model(*shape);
  model.init_weights(1);
  model::ModelInputs inputs;
  at::manual_seed(1);
  inputs.input_ids = at::randint(5, shape->vocab_size, {number("--batch"), number("--length")}, at::kLong);
  inputs.attention_mask = at::ones_like(inputs.input_ids);
  calibrate(model, inputs);

  const auto ours = [&] { return model.forward(inputs); };
  const auto eager = [&] {
    return benchmarks::eager_forward(model, inputs.input_ids, inputs.attention_mask);
  };
  const at::Tensor a = ours().start_logits, b = eager().start, norm = b - b.mean();
  // Two forwards that only sum in another order differ by codes that flip; most of the signal must agree.
  const double difference = ((a - b).norm() / norm.norm()).item<double>();
  if (!(difference < 0.5)) fail<Error>("[benchmark] outputs differ by {} of their spread", difference);

  std::vector<double> our_times, eager_times, float_times;
  for (int64_t round = 0; round < number("--rounds"); ++round) {
    our_times.push_back(seconds_of(ours));
    eager_times.push_back(seconds_of(eager));
  }
  for (const auto& item : model.named_quantizers()) item.quantizer->disable();
  for (int64_t round = 0; round < number("--rounds"); ++round) float_times.push_back(seconds_of(ours));
  const double our = median(our_times), peer = median(eager_times);
  std::printf(
      "fake-quantized %.3f s, original's operators %.3f s: %.1f times as fast; float %.3f s; outputs differ "
      "by %.4f\n",
      our, peer, peer / our, median(float_times), difference);
  if (!flags.at("--json").empty()) {
    const Json result = {{"shape", flags.at("--shape")},
                         {"batch", number("--batch")},
                         {"length", number("--length")},
                         {"threads", number("--threads")},
                         {"seconds", our},
                         {"eager_seconds", peer},
                         {"ratio", peer / our},
                         {"float_seconds", median(float_times)},
                         {"relative_difference", difference}};
    write_file(flags.at("--json"), dump_json(result));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> flags = {{"--shape", "minilm-l6"}, {"--batch", "8"},
                                              {"--length", "384"},      {"--threads", "2"},
                                              {"--rounds", "5"},        {"--json", ""}};
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
