#include "qdqbert/train/device.h"

#include <charconv>

#include "qdqbert/base/error.h"

namespace qdqbert::train {

namespace {

// What CMAKE_CUDA_ARCHITECTURES of the build begins with.
constexpr int kOldestMajor = 7, kOldestMinor = 5;

std::string version_text(int cuda) {
  return fmt::format("{}.{}", cuda / 1000, cuda % 1000 / 10);
}

std::string gpu_text(const nn::Gpus& gpus, size_t number) {
  const nn::Gpu& gpu = gpus.list[number];
  return fmt::format("cuda:{} ({}, {:.1f} GiB)", number, gpu.name,
                     static_cast<double>(gpu.memory) / (int64_t{1} << 30));
}

/// Why no GPU of this machine can be used; empty when one can.
std::string fault_of(const nn::Gpus& gpus) {
  if (!gpus.built)
    return "this build has no CUDA; build it with `scripts/setup --cuda` and `cmake --preset cuda`";
  if (gpus.driver > 0 && gpus.driver < gpus.toolkit && gpus.list.empty())
    return fmt::format(
        "the NVIDIA driver knows CUDA {}, this build was made with {}: the driver has to be newer",
        version_text(gpus.driver), version_text(gpus.toolkit));
  if (!gpus.fault.empty()) return fmt::format("the NVIDIA driver says: {}", gpus.fault);
  if (gpus.list.empty())
    return gpus.driver == 0
               ? "there is no GPU here, or no NVIDIA driver for it"
               : "the NVIDIA driver shows no GPU (CUDA_VISIBLE_DEVICES hides those that it leaves out)";
  return {};
}

std::string age_fault(const nn::Gpus& gpus, size_t number) {
  const nn::Gpu& gpu = gpus.list[number];
  if (gpu.major > kOldestMajor || (gpu.major == kOldestMajor && gpu.minor >= kOldestMinor)) return {};
  return fmt::format("{} has compute capability {}.{}; kernels are built for {}.{} and newer",
                     gpu_text(gpus, number), gpu.major, gpu.minor, kOldestMajor, kOldestMinor);
}

std::string number_fault(const nn::Gpus& gpus, int64_t number, const std::optional<Launch>& launch) {
  const auto count = static_cast<int64_t>(gpus.list.size());
  if (number < count) return age_fault(gpus, static_cast<size_t>(number));
  if (launch)
    return fmt::format(
        "{} processes share this machine and its {} GPU{}: start as many as there are GPUs, "
        "and let each see all of them",
        launch->on_this_machine, count, count == 1 ? "" : "s");
  std::string there;
  for (size_t i = 0; i < gpus.list.size(); ++i) there += (i > 0 ? ", " : "") + gpu_text(gpus, i);
  return fmt::format("cuda:{} is not there; there {} {}", number, count == 1 ? "is" : "are", there);
}

}  // namespace

DeviceRequest parse_device(std::string_view text) {
  using Kind = DeviceRequest::Kind;
  if (text == "auto") return {Kind::kAuto, std::nullopt};
  if (text == "cpu") return {Kind::kCpu, std::nullopt};
  if (text == "cuda") return {Kind::kGpu, std::nullopt};
  constexpr std::string_view kNumbered = "cuda:";
  int number = 0;
  if (text.starts_with(kNumbered)) {
    const char *first = text.data() + kNumbered.size(), *last = text.data() + text.size();
    const auto [end, error] = std::from_chars(first, last, number);
    if (error == std::errc() && end == last && number >= 0) return {Kind::kGpu, number};
  }
  fail<UsageError>("[device] \"{}\" is none of auto, cpu, cuda and cuda:N", text);
}

ChosenDevice choose_device(const DeviceRequest& request, const nn::Gpus& gpus,
                           const std::optional<Launch>& launch) {
  using Kind = DeviceRequest::Kind;
  if (request.kind == Kind::kCpu) return {};
  const std::string asked = request.number ? fmt::format("cuda:{}", *request.number) : "cuda";
  if (launch && request.number)
    fail<UsageError>("[device] {} is one GPU and there are {} processes; --device cuda gives each its own",
                     asked, launch->size);
  const int64_t number = launch ? launch->local_rank : request.number.value_or(0);
  std::string fault = fault_of(gpus);
  if (fault.empty()) fault = number_fault(gpus, number, launch);
  if (fault.empty()) return {at::Device(at::kCUDA, static_cast<at::DeviceIndex>(number)), {}};
  if (request.kind == Kind::kGpu) fail<UsageError>("[device] {}: {}", asked, fault);
  const bool has_gpu = gpus.built && (gpus.driver > 0 || !gpus.list.empty());
  return {at::kCPU, has_gpu ? fault : std::string()};
}

std::string describe(at::Device device, const nn::Gpus& gpus) {
  const auto number = static_cast<size_t>(device.has_index() ? device.index() : 0);
  return device.is_cuda() && number < gpus.list.size() ? gpu_text(gpus, number) : device.str();
}

at::Device device_of(const torch::nn::Module& model) {
  const std::vector<at::Tensor> parameters = model.parameters();
  return parameters.empty() ? at::Device(at::kCPU) : parameters.front().device();
}

namespace {

at::Tensor moved(const at::Tensor& tensor, at::Device device) {
  if (!tensor.defined() || tensor.device() == device) return tensor;
  return device.is_cuda() && tensor.is_cpu() ? nn::pinned(tensor).to(device, /*non_blocking=*/true)
                                             : tensor.to(device);
}

}  // namespace

model::ModelInputs to_device(const model::ModelInputs& inputs, at::Device device) {
  model::ModelInputs there = inputs;
  for (at::Tensor model::ModelInputs::*field :
       {&model::ModelInputs::input_ids, &model::ModelInputs::attention_mask,
        &model::ModelInputs::token_type_ids, &model::ModelInputs::position_ids,
        &model::ModelInputs::head_mask, &model::ModelInputs::inputs_embeds,
        &model::ModelInputs::encoder_hidden_states, &model::ModelInputs::encoder_attention_mask,
        &model::ModelInputs::labels, &model::ModelInputs::start_positions, &model::ModelInputs::end_positions,
        &model::ModelInputs::next_sentence_label})
    there.*field = moved(there.*field, device);
  for (model::LayerCache& cache : there.past_key_values)
    for (at::Tensor& tensor : cache) tensor = moved(tensor, device);
  return there;
}

model::ModelOutputs to_host(model::ModelOutputs outputs) {
  const at::Tensor& any = outputs.logits.defined()         ? outputs.logits
                          : outputs.start_logits.defined() ? outputs.start_logits
                                                           : outputs.last_hidden_state;
  if (!any.defined() || any.is_cpu()) return outputs;
  const auto fetched = [](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.to(at::kCPU, at::kFloat) : tensor;
  };
  model::ModelOutputs here;
  here.logits = fetched(outputs.logits);
  here.start_logits = fetched(outputs.start_logits);
  here.end_logits = fetched(outputs.end_logits);
  // Only tasks without a head read it, and it is large.
  if (!here.logits.defined() && !here.start_logits.defined())
    here.last_hidden_state = fetched(outputs.last_hidden_state);
  return here;
}

bool is_out_of_gpu_memory(const std::exception& error) {
  const std::string_view text = error.what();
  return text.find("CUDA out of memory") != std::string_view::npos ||
         text.find("CUDA error: out of memory") != std::string_view::npos ||
         text.find("CUBLAS_STATUS_ALLOC_FAILED") != std::string_view::npos;
}

std::string memory_asked_for(const std::exception& error) {
  const std::string text = error.what();
  constexpr std::string_view kBefore = "Tried to allocate ";
  const size_t at = text.find(kBefore);
  if (at == std::string::npos) return text.substr(0, text.find('\n'));
  const size_t begin = at + kBefore.size(), end = text.find_first_of("B\n", begin);
  return text.substr(begin, end == std::string::npos ? end : end + 1 - begin) + " more were asked for";
}

void refuse_for_memory(std::string_view subject, at::Device device, const model::ModelInputs& inputs,
                       std::string_view remedy, const std::exception& error) {
  const at::Tensor& ids = inputs.input_ids.defined() ? inputs.input_ids : inputs.attention_mask;
  fail<Error>("[{}] {} has no memory left for {} samples of {} tokens each ({}); {}", subject, device.str(),
              ids.size(0), ids.size(-1), memory_asked_for(error), remedy);
}

}  // namespace qdqbert::train
