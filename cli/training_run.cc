#include "cli/training_run.h"

#include <cstdio>
#include <map>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/nn/clip.h"
#include "qdqbert/nn/optim_helper.h"
#include "qdqbert/train/checkpoint.h"
#include "qdqbert/train/device.h"
#include "qdqbert/train/distillation.h"
#include "qdqbert/train/evaluate.h"

namespace qdqbert::cli {

namespace fs = std::filesystem;

namespace {

// What a training may have written when it is killed before its first checkpoint.
bool holds_only_traces(const fs::path& output) {
  for (const fs::directory_entry& entry : fs::directory_iterator(output))
    if (entry.path().filename() != kEventsFolder && entry.path().filename() != kReportFile) return false;
  return true;
}

}  // namespace

std::optional<fs::path> checkpoint_to_resume(const fs::path& output, const TrainingFlags& flags,
                                             bool overwrite) {
  if (flags.resume_from_checkpoint) {
    const std::string& given = *flags.resume_from_checkpoint;
    const fs::path directory =
        given.size() > 1 && given.back() == '/' ? given.substr(0, given.size() - 1) : given;
    if (const std::string fault = train::checkpoint_fault(directory); !fault.empty())
      fail("[resume_from_checkpoint] {}: {}", directory.string(), fault);
    return directory;
  }
  std::error_code ignored;
  if (!fs::is_directory(output, ignored)) return std::nullopt;
  train::remove_leftovers(output);
  if (overwrite) {
    if (const int64_t removed = train::remove_checkpoints(output); removed > 0)
      log_info("--overwrite_output_dir: {} checkpoints of an earlier run are removed", removed);
    return std::nullopt;
  }
  const std::optional<fs::path> last = train::last_checkpoint(output);
  if (last) {
    log_info(
        "{} is there, so training goes on from it; to begin anew give another --output_dir or "
        "--overwrite_output_dir",
        last->string());
  } else if (!holds_only_traces(output)) {
    fail<UsageError>(
        "[output_dir] {} exists and is not empty, and holds no checkpoint to go on from; "
        "give --overwrite_output_dir to write into it all the same",
        output.string());
  } else if (!fs::is_empty(output)) {
    log_info("{}: an earlier run ended before its first checkpoint; training begins anew", output.string());
  }
  return last;
}

void prepare_model(model::PreTrainedModel& model, const TrainingFlags& flags) {
  if (!flags.freeze.empty()) {
    if (nn::match_parameters(model, flags.freeze).empty())
      log_warning("--freeze matches no parameter");
    else
      nn::freeze_parameters(model, flags.freeze);
  }
  int64_t quantizing = 0, without = 0;
  std::string first;
  for (const model::NamedQuantizer& item : model.named_quantizers()) {
    if (item.quantizer->is_inert()) continue;
    ++quantizing;
    if (item.quantizer->has_amax() || item.quantizer->clip_module()) continue;
    if (without++ == 0) first = item.name;
  }
  if (quantizing == 0) return;
  if (without == quantizing) {
    log_warning(
        "none of the {} quantizers has a range: training adapts to ranges that move with every batch, "
        "and another batch will get others; calibrate the model first (--do_calib), or switch "
        "quantization off (--quant-disable)",
        quantizing);
  } else if (without > 0) {
    log_warning("{} of {} quantizers have no range, the first is {}: the directory is not fully calibrated",
                without, quantizing, first);
  }
  constexpr double kLargest = 4e-5;
  if (flags.learning_rate > kLargest)
    log_warning(
        "--learning_rate {} is one for fine-tuning from a pre-trained model; quantization-aware training "
        "with fixed ranges usually wants 1e-6 to {}",
        flags.learning_rate, kLargest);
}

std::function<at::Tensor(const model::ModelInputs&)> distillation_loss(model::PreTrainedModel& model,
                                                                       const text::Tokenizer& tokenizer,
                                                                       const TrainingFlags& flags,
                                                                       const fs::path& directory) {
  const std::optional<train::DistillationOptions> options = distillation_options(flags);
  if (!options) return nullptr;
  if (fs::exists(directory / "tokenizer.json") || fs::exists(directory / "vocab.txt")) {
    const text::Tokenizer its = text::Tokenizer::from_path(directory);
    const auto &a = tokenizer.vocabulary().tokens(), &b = its.vocabulary().tokens();
    if (a.size() != b.size())
      fail<UsageError>("[teacher] has another vocabulary: {} tokens, the model's tokenizer {}", b.size(),
                       a.size());
    for (size_t i = 0; i < a.size(); ++i)
      if (a[i] != b[i])
        fail<UsageError>("[teacher] has another vocabulary: token {} is \"{}\", the model's \"{}\"", i, b[i],
                         a[i]);
  }
  const model::LoadedModel teacher = model::load_model(model.class_name(), directory);
  if (!teacher.report.missing.empty())
    fail("[teacher] {} lacks {}, so it has not been trained for this task", directory.string(),
         teacher.report.missing.front());
  teacher.model->to(train::device_of(model));
  const auto distillation =
      std::make_shared<train::Distillation>(model, teacher.model, *options, flags.gradient_checkpointing);
  std::string layers;
  for (const auto& [mine, its] : distillation->layers()) layers += fmt::format(" {}:{}", mine, its);
  log_info("Learning from {} ({} layers): temperature {}, share {}{}{}", directory.string(),
           teacher.model->config().num_hidden_layers, options->temperature, options->alpha,
           layers.empty() ? "" : ", layers", layers);
  return [distillation](const model::ModelInputs& inputs) { return distillation->loss(inputs); };
}

void ProgressDetail::on_step(const train::StepReport& report) {
  terminal_.set_detail(fmt::format("loss {:.4f}, lr {:.2e}, {:.0f} tokens/s", report.loss,
                                   report.learning_rate, report.tokens_per_second));
}

void ProgressDetail::on_end(const Json&) {
  terminal_.set_detail("");
}

namespace {

/// The same weights, ranges and switches in a model with other descriptors.
std::shared_ptr<model::PreTrainedModel> rebuilt(const model::PreTrainedModel& model,
                                                const nn::QuantDefaults& defaults) {
  std::shared_ptr<model::PreTrainedModel> copy =
      model::make_model(model.class_name(), model.config(), defaults);
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> given;
  for (const nn::NamedTensor& item : nn::state_dict(model)) given[item.name] = item.tensor;
  for (const nn::NamedTensor& item : nn::state_dict(*copy))
    if (const auto found = given.find(item.name); found != given.end())
      at::Tensor(item.tensor).copy_(found->second);
  copy->tie_weights();
  copy->to(train::device_of(model));
  const std::vector<model::NamedQuantizer> from = model.named_quantizers(), to = copy->named_quantizers();
  for (size_t i = 0; i < from.size(); ++i) {
    const nn::TensorQuantizer& quantizer = *from[i].quantizer;
    if (quantizer.has_amax()) to[i].quantizer->replace_amax(quantizer.amax().clone());
    if (quantizer.disabled()) to[i].quantizer->disable();
  }
  return copy;
}

}  // namespace

std::shared_ptr<model::PreTrainedModel> with_learned_ranges(const model::PreTrainedModel& model,
                                                            nn::QuantDefaults defaults) {
  defaults.input.learn_amax = true;
  std::shared_ptr<model::PreTrainedModel> copy = rebuilt(model, defaults);
  for (const model::NamedQuantizer& item : copy->named_quantizers()) {
    nn::TensorQuantizer& quantizer = *item.quantizer;
    if (!quantizer.clip_module() || quantizer.disabled()) continue;
    if (!quantizer.has_amax())
      fail("[learn-amax] {} has no range to start from; calibrate the model first (--do_calib)", item.name);
    quantizer.init_learn_amax();
  }
  return copy;
}

std::shared_ptr<model::PreTrainedModel> with_fixed_ranges(const model::PreTrainedModel& model,
                                                          const nn::QuantDefaults& defaults) {
  std::shared_ptr<model::PreTrainedModel> copy = rebuilt(model, defaults);
  const at::NoGradGuard no_grad;
  const std::vector<model::NamedQuantizer> from = model.named_quantizers(), to = copy->named_quantizers();
  for (size_t i = 0; i < from.size(); ++i) {
    const nn::Clip* clip = from[i].quantizer->clip_module();
    if (clip && !from[i].quantizer->disabled())
      to[i].quantizer->replace_amax(
          at::maximum(-clip->clip_value_min, clip->clip_value_max).detach().clone());
  }
  return copy;
}

void RangeFreezer::before_step(int64_t step, int64_t max_steps) {
  if (frozen_ || static_cast<double>(step) < share_ * static_cast<double>(max_steps)) return;
  frozen_ = true;
  for (const model::NamedQuantizer& item : model_.named_quantizers())
    if (nn::Clip* clip = item.quantizer->clip_module()) {
      clip->clip_value_min.requires_grad_(false);
      clip->clip_value_max.requires_grad_(false);
    }
  log_info("ranges stay as they are from step {} on", step);
}

void write_training_results(const fs::path& output, const train::Trainer& trainer,
                            const train::TrainerOptions& options, const train::TrainingResult& result,
                            int64_t samples) {
  constexpr JsonStyle kState{2, true, true, true};
  Json metrics = result.metrics;
  metrics["train_samples"] = samples;
  train::write_results(output, "train", metrics);
  std::fputs(train::metrics_block("train", metrics).c_str(), stdout);
  write_file(output / train::kStateFile, dump_json(result.state.to_json(options, trainer.plan()), kState));
  write_file(output / train::kArgumentsFile, dump_json(options.to_json(), kState));
}

}  // namespace qdqbert::cli
