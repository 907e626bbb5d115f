// Memory of large tensors, kept and handed out again.
#pragma once

#include <cstddef>

namespace qdqbert::nn {

/// What the cache holds, in bytes.
struct BlockCacheUsage {
  size_t in_use = 0;       ///< blocks of tensors that live
  size_t free = 0;         ///< blocks that wait for the next tensor
  size_t most_in_use = 0;  ///< largest in_use so far; in_use + free is at most a quarter more
};

/// Makes LibTorch take every CPU tensor of 256 KiB and more from a cache of page-aligned blocks, for the rest
/// of the process. A forward pass asks for the same sizes again and again: from the C library each request is
/// either mapped anew, so that every page is cleared again, or taken from a heap that small lasting blocks
/// split up, so that the process grows with the number of batches. Call it before other threads use tensors;
/// a second call does nothing.
void cache_large_tensors();

/// All zeros before cache_large_tensors().
BlockCacheUsage block_cache_usage();

}  // namespace qdqbert::nn
