#include "qdqbert/nn/block_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include "qdqbert/base/math.h"

namespace qdqbert::nn {
namespace {

constexpr size_t kSmallest = size_t{256} << 10;
constexpr size_t kHugePage = size_t{2} << 20;

/// Eight sizes between one power of two and the next: at most an eighth of a block is not used.
size_t rounded(size_t bytes) {
  const size_t step = std::bit_floor(bytes) / 8;
  return round_up(bytes, step);
}

class BlockCache {
 public:
  void* take(size_t bytes) {
    const size_t size = rounded(bytes);
    const std::lock_guard lock(mutex_);
    void* block = nullptr;
    size_t taken = size;
    // A larger block is better than a new one, whose pages are cleared one by one; training asks for other
    // sizes in its backward pass than in its forward pass.
    if (const auto found = free_.lower_bound(size); found != free_.end() && found->first <= size + size / 2) {
      taken = found->first;
      block = found->second;
      free_.erase(found);
      usage_.free -= taken;
    } else {
      make_room(size);
      block = map(size);
    }
    sizes_[block] = taken;
    usage_.in_use += taken;
    usage_.most_in_use = std::max(usage_.most_in_use, usage_.in_use);
    return block;
  }

  /// False for what take() never gave out.
  bool give_back(void* block) {
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(block);
    if (found == sizes_.end()) return false;
    const size_t size = found->second;
    sizes_.erase(found);
    free_.emplace(size, block);
    usage_.in_use -= size;
    usage_.free += size;
    return true;
  }

  BlockCacheUsage usage() {
    const std::lock_guard lock(mutex_);
    return usage_;
  }

 private:
  /// Unmaps free blocks, largest first, until `size` more bytes keep the promise about most_in_use.
  void make_room(size_t size) {
    const size_t most = std::max(usage_.most_in_use, usage_.in_use + size), allowed = most + most / 4;
    while (!free_.empty() && usage_.in_use + usage_.free + size > allowed) {
      const auto largest = std::prev(free_.end());
      munmap(largest->second, largest->first);
      usage_.free -= largest->first;
      free_.erase(largest);
    }
  }

  static void* map(size_t size) {
    void* block = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) throw std::bad_alloc();
    if (size >= kHugePage) madvise(block, size, MADV_HUGEPAGE);
    return block;
  }

  std::mutex mutex_;
  std::multimap<size_t, void*> free_;
  std::unordered_map<void*, size_t> sizes_;
  BlockCacheUsage usage_;
};

/// Never destroyed: tensors of static lifetime give their blocks back at the very end.
BlockCache& cache() {
  static auto* const instance = new BlockCache;
  return *instance;
}

/// LibTorch also asks for bare pointers and gives them back without saying where they came from.
void release(void* pointer) {
  if (!cache().give_back(pointer)) c10::GetDefaultCPUAllocator()->raw_deallocate(pointer);
}

at::DataPtr allocate_cached(size_t bytes) {
  if (bytes < kSmallest) return c10::GetDefaultCPUAllocator()->allocate(bytes);
  void* block = cache().take(bytes);
  return {block, block, release, at::Device(at::kCPU)};
}

/// LibTorch's allocators came to be changed by allocating, and to copy, between 1.13 and 2.3. Without the
/// word override each function is one where the base class has it.
class CachingAllocator final : public at::Allocator {
 public:
  at::DataPtr allocate(size_t bytes) const { return allocate_cached(bytes); }
  at::DataPtr allocate(size_t bytes) { return allocate_cached(bytes); }
  at::DeleterFnPtr raw_deleter() const { return release; }
  void copy_data(void* to, const void* from, size_t bytes) const { std::memcpy(to, from, bytes); }
};

}  // namespace

void cache_large_tensors() {
  static auto* const allocator = new CachingAllocator;
  c10::SetCPUAllocator(allocator);
}

BlockCacheUsage block_cache_usage() {
  return cache().usage();
}

}  // namespace qdqbert::nn
