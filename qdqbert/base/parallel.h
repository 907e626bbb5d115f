// Threads for work over ranges. Results must not depend on the number of threads: chunks are claimed
// dynamically, so each chunk writes only its own outputs.
#pragma once

#include <cstddef>
#include <functional>

namespace qdqbert {

/// Threads that the process may run on (affinity mask), at least 1; QDQBERT_THREADS overrides.
int default_threads();

/// Calls body(begin, end) for consecutive chunks of [0, count) of at most `grain` items on up to `threads`
/// threads (the caller is one of them; <= 0 means default_threads()). The first exception thrown by a body is
/// rethrown here after all threads have stopped.
void parallel_for(size_t count, size_t grain, int threads,
                  const std::function<void(size_t begin, size_t end)>& body);

}  // namespace qdqbert
