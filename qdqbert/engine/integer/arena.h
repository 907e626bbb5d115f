// Memory for activations: sized once, aligned to cache lines.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace qdqbert::engine {

struct FreeAligned {
  void operator()(void* p) const { std::free(p); }
};

/// `count` elements on a 64-byte boundary, uninitialised.
template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t count) : count_(count) {
    const size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
    data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes > 0 ? bytes : 64)));
    if (!data_) throw std::bad_alloc();
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return count_; }

 private:
  std::unique_ptr<T, FreeAligned> data_;
  size_t count_ = 0;
};

}  // namespace qdqbert::engine
