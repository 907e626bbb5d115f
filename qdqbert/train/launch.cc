#include "qdqbert/train/launch.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "qdqbert/base/error.h"

namespace qdqbert::train {
namespace {

// Ports that no service has by convention, below the range from which systems give out their own.
constexpr int64_t kFirstPort = 20000, kPorts = 10000;
constexpr int64_t kDefaultPort = 29500;

struct Names {
  const char *launcher, *rank, *size, *local_size, *local_rank, *job;
};
constexpr Names kLaunchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK", nullptr},
    {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_MCA_ess_base_jobid"},
    {"mpirun", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS", "MPI_LOCALRANKID", nullptr},
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE", "SLURM_LOCALID",
     "SLURM_JOB_ID"},
};

std::optional<int64_t> number(const std::optional<std::string>& text) {
  int64_t value = 0;
  if (!text) return std::nullopt;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return value;
}

int64_t required_number(const Environment& environment, const char* name) {
  const std::optional<std::string> text = environment(name);
  const std::optional<int64_t> value = number(text);
  if (!value) fail<UsageError>("[launch] {} is \"{}\", which is no number", name, text.value_or(""));
  return *value;
}

std::string master_host(const Environment& environment, const Names& names) {
  if (const auto given = environment("MASTER_ADDR")) return *given;
  const std::string launcher = names.launcher;
  if (launcher == "torchrun")
    fail<UsageError>(
        "[launch] RANK and WORLD_SIZE are set but MASTER_ADDR is not: where does rank 0 listen?");
  if (launcher == "srun")
    if (const auto address = environment("SLURM_LAUNCH_NODE_IPADDR")) return *address;
  return "127.0.0.1";
}

int64_t master_port(const Environment& environment, const Names& names) {
  if (environment("MASTER_PORT")) return required_number(environment, "MASTER_PORT");
  const std::optional<int64_t> job = names.job ? number(environment(names.job)) : std::nullopt;
  return job ? kFirstPort + *job % kPorts : kDefaultPort;
}

}  // namespace

std::optional<std::string> process_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? std::optional<std::string>(value) : std::nullopt;
}

std::optional<Launch> find_launch(const Environment& environment) {
  for (const Names& names : kLaunchers) {
    if (!environment(names.rank) || !environment(names.size)) continue;
    const int64_t rank = required_number(environment, names.rank),
                  size = required_number(environment, names.size);
    if (size < 1 || rank < 0 || rank >= size)
      fail<UsageError>("[launch] {} is {} and {} is {}; ranks go from 0 to size - 1", names.rank, rank,
                       names.size, size);
    if (size == 1) return std::nullopt;
    const int64_t port = master_port(environment, names);
    if (port < 1 || port > 65535) fail<UsageError>("[launch] MASTER_PORT is {}; 1 to 65535 are ports", port);
    Launch launch;
    launch.rank = static_cast<int>(rank);
    launch.size = static_cast<int>(size);
    // Slurm writes "4(x2)" for two machines with four each, which is none of the numbers meant for programs.
    launch.on_this_machine =
        static_cast<int>(std::clamp<int64_t>(number(environment(names.local_size)).value_or(size), 1, size));
    // Launchers number the ranks of a machine one after the other, also those that do not say so.
    launch.local_rank =
        static_cast<int>(number(environment(names.local_rank)).value_or(rank % launch.on_this_machine));
    launch.launcher = names.launcher;
    launch.master_host = master_host(environment, names);
    launch.master_port = static_cast<uint16_t>(port);
    launch.launcher_keeps_store = environment("TORCHELASTIC_USE_AGENT_STORE") == "True";
    return launch;
  }
  return std::nullopt;
}

}  // namespace qdqbert::train
