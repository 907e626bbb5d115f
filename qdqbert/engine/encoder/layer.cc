#include "qdqbert/engine/encoder/layer.h"

#include <algorithm>

namespace qdqbert::engine {

PackedLinear pack_linear(const GemmS8Kernel& kernel, const int8_t* weight, size_t n, size_t k,
                         float input_scale, const std::vector<float>& weight_scale,
                         const std::vector<float>& bias) {
  PackedLinear linear;
  linear.k = k;
  linear.k_padded = padded_k(k);
  linear.n = n;
  linear.n_padded = panel_count(kernel, n) * kernel.columns;
  linear.panels = AlignedBuffer<unsigned char>(panel_count(kernel, n) * panel_bytes(kernel, linear.k_padded));
  pack_panels(kernel, {weight, k, n, 1, k}, linear.panels.data());
  linear.scale.assign(linear.n_padded, 0.0f);
  linear.bias.assign(linear.n_padded, 0.0f);
  for (size_t j = 0; j < n; ++j)
    linear.scale[j] = input_scale * (weight_scale.size() == 1 ? weight_scale[0] : weight_scale[j]);
  std::copy(bias.begin(), bias.end(), linear.bias.begin());
  return linear;
}

}  // namespace qdqbert::engine
