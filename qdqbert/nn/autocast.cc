#include "qdqbert/nn/autocast.h"

#include <ATen/autocast_mode.h>

namespace qdqbert::nn {

Bf16Autocast::Bf16Autocast() : before_(is_on()) {
  at::autocast::set_autocast_cpu_dtype(at::kBFloat16);
  at::autocast::set_cpu_enabled(true);
}

Bf16Autocast::~Bf16Autocast() {
  at::autocast::set_cpu_enabled(before_);
  if (!before_) at::autocast::clear_cache();
}

bool Bf16Autocast::is_on() {
  return at::autocast::is_cpu_enabled();
}

}  // namespace qdqbert::nn
