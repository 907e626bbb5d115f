#include "cli/task_device.h"

#include "qdqbert/base/log.h"
#include "qdqbert/nn/gpu.h"

namespace qdqbert::cli {

at::Device choose_device(const std::string& flag, const std::optional<train::Launch>& launch,
                         train::ProcessGroup* group) {
  const nn::Gpus gpus = nn::find_gpus();
  const train::ChosenDevice chosen = train::choose_device(train::parse_device(flag), gpus, launch);
  const at::Device device = chosen.device;
  if (!chosen.remark.empty()) log_warning("--device {}: {}; this runs on the CPU", flag, chosen.remark);
  if (!device.is_cpu()) log_info("Running on {}", train::describe(device, gpus));
  if (!group) return device;
  // Other GPUs give other bits and other speeds, and the slowest would set the pace unseen.
  group->require_equal("device",
                       device.is_cpu() ? "the CPU" : gpus.list[static_cast<size_t>(device.index())].name);
  if (!device.is_cpu()) group->use_gpu(device);
  return device;
}

train::Precision choose_precision(const TaskRunOptions& run, at::Device device,
                                  std::optional<train::TrainerOptions>& trainer) {
  if (!run.fp16 && !run.bf16) return train::Precision::kFloat32;
  const bool half = run.fp16 && !device.is_cpu();
  if (trainer) (half ? trainer->fp16 : trainer->bf16) = true;
  log_info(
      "--{}: training, evaluation and prediction take products in {} (autocast){}; calibration stays FP32",
      run.fp16 ? "fp16" : "bf16", half ? "FP16" : "BF16",
      half       ? ", and training scales its loss"
      : run.fp16 ? ": on a CPU half precision is BF16, which needs no loss scaling"
                 : "");
  return half ? train::Precision::kFp16 : train::Precision::kBf16;
}

}  // namespace qdqbert::cli
