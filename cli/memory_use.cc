#include "cli/memory_use.h"

#include <fstream>
#include <string>

namespace qdqbert::cli {

MemoryUse memory_use() {
  MemoryUse use;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string name = line.substr(0, colon);
    double* const field = name == "VmRSS"     ? &use.resident_mb
                          : name == "RssFile" ? &use.file_mb
                          : name == "VmHWM"   ? &use.peak_mb
                                              : nullptr;
    if (field) *field = std::stod(line.substr(colon + 1)) * 1024 / 1e6;  // the file counts in KiB
  }
  return use;
}

}  // namespace qdqbert::cli
