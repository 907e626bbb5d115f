#include "tests/support/protected_memory.h"

#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "qdqbert/base/math.h"

namespace qdqbert::testing {
namespace {

struct Block {
  size_t size = 0;
  int uses = 0;
};

struct Blocks {
  std::mutex mutex;
  std::unordered_map<void*, Block> all;
};

/// Never destroyed: tensors of static lifetime give their blocks back at the very end.
Blocks& blocks() {
  static auto* const instance = new Blocks;
  return *instance;
}

void protect(void* block, size_t size, int protection) {
  if (mprotect(block, size, protection) != 0) std::abort();
}

}  // namespace

void* take_protected(size_t bytes) {
  if (bytes == 0) return nullptr;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t size = round_up(bytes, page);
  void* block = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) throw std::bad_alloc();
  const std::lock_guard lock(blocks().mutex);
  blocks().all[block] = {size, 0};
  return block;
}

void free_protected(void* block) {
  if (block == nullptr) return;
  const std::lock_guard lock(blocks().mutex);
  const auto found = blocks().all.find(block);
  if (found == blocks().all.end() || munmap(block, found->second.size) != 0) std::abort();
  blocks().all.erase(found);
}

OpenBlock::OpenBlock(void* block) : block_(block) {
  if (block_ == nullptr) return;
  const std::lock_guard lock(blocks().mutex);
  Block& entry = blocks().all.at(block_);
  if (entry.uses++ == 0) protect(block_, entry.size, PROT_READ | PROT_WRITE);
}

OpenBlock::~OpenBlock() {
  if (block_ == nullptr) return;
  const std::lock_guard lock(blocks().mutex);
  const auto found = blocks().all.find(block_);
  if (found != blocks().all.end() && --found->second.uses == 0)
    protect(block_, found->second.size, PROT_NONE);
}

OpenBlock::OpenBlock(OpenBlock&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}

}  // namespace qdqbert::testing
