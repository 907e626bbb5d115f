// --device and what a GPU's memory ends with: every sentence, on a machine that need not have one.
#include "qdqbert/train/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"

namespace qdqbert::train {
namespace {

using ::testing::HasSubstr;
using Kind = DeviceRequest::Kind;

constexpr int64_t kGiB = int64_t{1} << 30;

nn::Gpus two_gpus() {
  nn::Gpus gpus;
  gpus.built = true;
  gpus.driver = gpus.toolkit = 13000;
  gpus.list = {{"NVIDIA A100", 80 * kGiB, 8, 0}, {"NVIDIA L4", 24 * kGiB, 8, 9}};
  return gpus;
}

Launch rank_of_machine(int local_rank, int on_this_machine) {
  Launch launch;
  launch.local_rank = launch.rank = local_rank;
  launch.on_this_machine = launch.size = on_this_machine;
  return launch;
}

std::string refusal(const std::string& word, const nn::Gpus& gpus,
                    const std::optional<Launch>& launch = std::nullopt) {
  try {
    choose_device(parse_device(word), gpus, launch);
    return "accepted";
  } catch (const UsageError& error) {
    return error.what();
  }
}

TEST(Device, Words) {
  EXPECT_EQ(parse_device("auto").kind, Kind::kAuto);
  EXPECT_EQ(parse_device("cpu").kind, Kind::kCpu);
  EXPECT_EQ(parse_device("cuda").kind, Kind::kGpu);
  EXPECT_FALSE(parse_device("cuda").number);
  EXPECT_EQ(parse_device("cuda:12").number, 12);
  for (const char* word : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "CUDA", "cuda:99999999999"})
    EXPECT_THROW(parse_device(word), UsageError) << word;
}

TEST(Device, ChoosesWhatIsThere) {
  const nn::Gpus gpus = two_gpus();
  EXPECT_EQ(choose_device(parse_device("auto"), gpus).device, at::Device(at::kCUDA, 0));
  EXPECT_EQ(choose_device(parse_device("cuda:1"), gpus).device, at::Device(at::kCUDA, 1));
  EXPECT_EQ(choose_device(parse_device("cpu"), gpus).device, at::Device(at::kCPU));
  EXPECT_EQ(choose_device(parse_device("auto"), gpus, rank_of_machine(1, 2)).device,
            at::Device(at::kCUDA, 1));
  EXPECT_EQ(describe(at::Device(at::kCUDA, 1), gpus), "cuda:1 (NVIDIA L4, 24.0 GiB)");
  EXPECT_EQ(describe(at::kCPU, gpus), "cpu");
}

TEST(Device, SaysWhyThereIsNone) {
  nn::Gpus gpus;
  EXPECT_EQ(refusal("cuda", gpus),
            "[device] cuda: this build has no CUDA; build it with `scripts/setup "
            "--cuda` and `cmake --preset cuda`");
  gpus.built = true;
  gpus.toolkit = 13000;
  EXPECT_EQ(refusal("cuda:0", gpus), "[device] cuda:0: there is no GPU here, or no NVIDIA driver for it");
  gpus.driver = 12040;
  EXPECT_EQ(refusal("cuda", gpus),
            "[device] cuda: the NVIDIA driver knows CUDA 12.4, this build was made with 13.0: "
            "the driver has to be newer");
  gpus.driver = 13020;
  EXPECT_THAT(refusal("cuda", gpus), HasSubstr("the NVIDIA driver shows no GPU"));
  gpus.fault = "system not yet initialized";
  EXPECT_EQ(refusal("cuda", gpus), "[device] cuda: the NVIDIA driver says: system not yet initialized");

  gpus = two_gpus();
  EXPECT_EQ(refusal("cuda:2", gpus),
            "[device] cuda:2: cuda:2 is not there; there are cuda:0 (NVIDIA A100, 80.0 GiB), "
            "cuda:1 (NVIDIA L4, 24.0 GiB)");
  gpus.list[0].major = 7;
  gpus.list[0].minor = 0;
  EXPECT_THAT(refusal("cuda", gpus),
              HasSubstr("has compute capability 7.0; kernels are built for 7.5 and newer"));
}

TEST(Device, SeveralProcesses) {
  const nn::Gpus gpus = two_gpus();
  EXPECT_EQ(refusal("cuda:1", gpus, rank_of_machine(0, 2)),
            "[device] cuda:1 is one GPU and there are 2 processes; --device cuda gives each its own");
  EXPECT_THAT(refusal("cuda", gpus, rank_of_machine(3, 4)),
              HasSubstr("4 processes share this machine and its 2 GPUs: start as many as there are GPUs"));
}

TEST(Device, AutoFallsBackAndSaysSo) {
  nn::Gpus gpus;
  ChosenDevice chosen = choose_device(parse_device("auto"), gpus);
  EXPECT_TRUE(chosen.device.is_cpu());
  EXPECT_EQ(chosen.remark, "") << "nobody has a GPU here";
  gpus.built = true;
  gpus.toolkit = 13000;
  EXPECT_EQ(choose_device(parse_device("auto"), gpus).remark, "");
  gpus.driver = 12000;
  chosen = choose_device(parse_device("auto"), gpus);
  EXPECT_TRUE(chosen.device.is_cpu());
  EXPECT_THAT(chosen.remark, HasSubstr("the driver has to be newer"));
}

TEST(Device, MemoryThatIsUsedUp) {
  // As LibTorch says it.
  const std::runtime_error used_up(
      "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 23.68 GiB of which 1.06 GiB is free.\n"
      "Exception raised from malloc");
  EXPECT_TRUE(is_out_of_gpu_memory(used_up));
  EXPECT_EQ(memory_asked_for(used_up), "2.50 GiB more were asked for");
  EXPECT_FALSE(is_out_of_gpu_memory(std::runtime_error("CUDA error: an illegal memory access")));
  model::ModelInputs inputs;
  inputs.input_ids = at::zeros({32, 384}, at::kLong);
  const auto run = [&](const char* text) {
    with_memory_for("evaluation", at::Device(at::kCUDA, 0), inputs, [&] { TORCH_CHECK(false, text); });
  };
  try {
    run(used_up.what());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "[evaluation] cuda:0 has no memory left for 32 samples of 384 tokens each (2.50 GiB more were asked "
        "for); a smaller --per_device_eval_batch_size needs less");
  }
  EXPECT_THROW(run("something else"), c10::Error);
}

}  // namespace
}  // namespace qdqbert::train
