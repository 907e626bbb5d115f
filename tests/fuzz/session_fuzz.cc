// rooms: engine base
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/session.h"

namespace {

using namespace qdqbert::engine;

/// A batch of two texts, one padded, with ids that most graphs know; then one with an id that few know.
void answer(const Session& session) {
  const std::vector<int64_t> ids = {1, 2, 3, 4, 0, 1}, mask = {1, 1, 1, 1, 1, 0}, types = {0, 0, 1, 0, 1, 0};
  PaddedBatch<int64_t> batch{2, 3, ids, mask, types};
  try {
    session.run(batch);
  } catch (const qdqbert::Error&) {
  }
  const std::vector<int32_t> odd_ids = {7, 1 << 30};
  const std::vector<uint32_t> offsets = {0, 1, 2};
  try {
    session.run(PackedTexts{odd_ids, {}, offsets});
  } catch (const qdqbert::Error&) {
  }
}

}  // namespace

// Whatever the bytes are, a session over them answers or throws one of our exceptions, at load or at a
// request.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int fd = ::memfd_create("model", MFD_CLOEXEC);
  if (fd < 0 || ::write(fd, data, size) != static_cast<ssize_t>(size)) return 0;
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  for (const bool general_mask : {false, true}) {
    SessionOptions options;
    options.threads = 1;
    options.general_mask = general_mask;
    try {
      const Session session(path, options);
      answer(session);
    } catch (const qdqbert::Error&) {
    }
  }
  ::close(fd);
  return 0;
}
