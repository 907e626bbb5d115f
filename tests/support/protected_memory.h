// Memory that nobody may touch but who has opened it.
#pragma once

#include <cstddef>

namespace qdqbert::testing {

/// A block of whole pages, closed: reading or writing it ends the process with SIGSEGV.
/// nullptr for 0 bytes. Throws std::bad_alloc.
void* take_protected(size_t bytes);
/// Of an address that take_protected() gave; its pages are unmapped, so later uses end the process too.
void free_protected(void* block);

/// Keeps a block open, for all threads, while it lives.
/// Blocks may be opened several times; nullptr is open anyway.
class OpenBlock {
 public:
  explicit OpenBlock(void* block);
  ~OpenBlock();
  OpenBlock(OpenBlock&& other) noexcept;
  OpenBlock(const OpenBlock&) = delete;
  OpenBlock& operator=(const OpenBlock&) = delete;

 private:
  void* block_;
};

}  // namespace qdqbert::testing
