// Seconds of a fake-quantized and of a float forward pass, ours beside the original's operator sequence
// (eager_model.h) in the same process, turn by turn; medians. Outputs are compared before
// anything is timed.
//
//   model_benchmark [--shape minilm-l6 | --model DIRECTORY] [--batch 8] [--length 384] [--threads 2]
//                   [--rounds 5] [--json FILE]
//
// With --serve 1 another program sets the pace (compare_with_pytorch.py): a line "forward [FILE]" on standard
// input runs one fake-quantized pass and writes the start logits to FILE, "calibrate N" collects N batches
// for percentile 99.999 and computes the ranges; each is answered by its seconds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <sstream>

#include <ATen/Parallel.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/nn/block_cache.h"
#include "qdqbert/train/calibrate.h"

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

using Flags = std::map<std::string, std::string>;

std::shared_ptr<model::QDQBertForQuestionAnswering> make(const Flags& flags,
                                                         const nn::QuantDefaults& defaults) {
  constexpr const char* kClass = "QDQBertForQuestionAnswering";
  std::shared_ptr<model::PreTrainedModel> made;
  if (!flags.at("--model").empty()) {
    made = model::load_model(kClass, flags.at("--model"), defaults).model;
  } else {
    const auto shape = io::builtin_config(flags.at("--shape"));
    if (!shape) fail<UsageError>("[benchmark] there is no shape {}", flags.at("--shape"));
    made = model::make_model(kClass, *shape, defaults);
    made->init_weights(1);
  }
  return std::dynamic_pointer_cast<model::QDQBertForQuestionAnswering>(made);
}

/// Token ids that another program can make as well.
model::ModelInputs inputs_of(const model::PreTrainedModel& model, int64_t batch, int64_t length,
                             int64_t first) {
  model::ModelInputs inputs;
  const at::Tensor at = at::arange(first, first + batch * length, at::kLong);
  inputs.input_ids = ((at * 7919).remainder(model.config().vocab_size - 1000) + 1000).view({batch, length});
  inputs.attention_mask = at::ones_like(inputs.input_ids);
  return inputs;
}

double calibrate_by_histograms(const Flags& flags, int64_t batches, int64_t batch, int64_t length) {
  train::QuantOptions options;
  options.calibrator = train::CalibrationMethod::kPercentile;
  options.percentile = 99.999;
  const auto model = make(flags, train::quant_defaults(options));
  int64_t next = 0;
  const auto source = [&]() -> std::optional<train::CalibrationBatch> {
    if (next == batches) return std::nullopt;
    return train::CalibrationBatch{batch, inputs_of(*model, batch, length, 1000 * ++next)};
  };
  return seconds_of([&] { train::calibrate(*model, source, batches * batch, options); });
}

int serve(const Flags& flags, model::PreTrainedModel& model, const model::ModelInputs& inputs) {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string verb, argument;
    words >> verb >> argument;
    double seconds = 0;
    if (verb == "forward") {
      model::ModelOutputs outputs;
      seconds = seconds_of([&] { outputs = model.forward(inputs); });
      const at::Tensor start = outputs.start_logits.contiguous();
      if (!argument.empty())
        write_file(argument,
                   {static_cast<const char*>(start.data_ptr()), static_cast<size_t>(start.nbytes())});
    } else if (verb == "calibrate") {
      seconds = calibrate_by_histograms(flags, std::stoll(argument), inputs.input_ids.size(0),
                                        inputs.input_ids.size(1));
    } else {
      fail<UsageError>("[benchmark] unknown request {}", line);
    }
    std::cout << seconds << std::endl;
  }
  return 0;
}

int run(const Flags& flags) {
  const auto number = [&](const char* name) { return std::stoll(flags.at(name)); };
  at::set_num_threads(static_cast<int>(number("--threads")));
  const at::NoGradGuard no_grad;
  const auto owner = make(flags, {});
  model::QDQBertForQuestionAnswering& model = *owner;
  const model::ModelInputs inputs = inputs_of(model, number("--batch"), number("--length"), 0);
  calibrate(model, inputs);
  if (flags.at("--serve") == "1") {
    nn::cache_large_tensors();
    return serve(flags, model, inputs);
  }

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
      "fake-quantized %.3f s, original's operators %.3f s: %.1f times as fast; float %.3f s; outputs differ by %.4f\n",
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
  Flags flags = {{"--shape", "minilm-l6"}, {"--model", ""},   {"--batch", "8"}, {"--length", "384"},
                 {"--threads", "2"},       {"--rounds", "5"}, {"--json", ""},   {"--serve", ""}};
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
