// Memory of this process, as the system counts it.
#pragma once

namespace qdqbert::cli {

struct MemoryUse {
  double resident_mb = 0;  ///< now
  double file_mb = 0;      ///< of it pages of mapped files, which the system can take back
  double peak_mb = 0;      ///< the most that was resident so far
};

/// In megabytes of 10^6 bytes; zeros where the system does not tell.
MemoryUse memory_use();

}  // namespace qdqbert::cli
