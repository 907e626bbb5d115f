// Which of several processes this one is, as the launchers that people have tell it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace qdqbert::train {

struct Launch {
  int rank = 0, size = 1;
  int on_this_machine = 1;  ///< ranks that share its processors
  int local_rank = 0;       ///< number among them: which GPU is this process's
  std::string launcher;     ///< "torchrun", "mpirun" or "srun", for messages
  std::string master_host;  ///< where rank 0 (or the launcher's own store) listens
  uint16_t master_port = 0;
  bool launcher_keeps_store = false;  ///< the launcher itself listens there; rank 0 does not
};

/// Looks a variable of the environment up; nullopt when it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
std::optional<std::string> process_environment(const std::string& name);

/// nullopt for a process that stands alone. In this order: torchrun (RANK, WORLD_SIZE, MASTER_ADDR,
/// MASTER_PORT), Open MPI (OMPI_COMM_WORLD_RANK, _SIZE), MPICH and Intel MPI (PMI_RANK, PMI_SIZE), Slurm
/// inside srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LAUNCH_NODE_IPADDR). MASTER_ADDR and MASTER_PORT
/// win wherever they are set; without them MPI processes are taken to share one machine, and the port follows
/// from the job's number so that two jobs do not meet. Throws UsageError: a variable that is no number, a
/// rank outside of [0, size), torchrun's variables without an address.
std::optional<Launch> find_launch(const Environment& environment = process_environment);

}  // namespace qdqbert::train
