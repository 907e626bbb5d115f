#include "qdqbert/engine/integer/layer.h"

#include <algorithm>

namespace qdqbert::engine {

PackedLinear pack_linear(const GemmS8Kernel& kernel, std::span<const LinearPart> parts, float input_scale) {
  PackedLinear linear;
  linear.k = parts[0].codes.k;
  linear.k_padded = padded_k(linear.k);
  size_t panels = 0;
  for (const LinearPart& part : parts) {
    linear.n += part.codes.n;
    panels += panel_count(kernel, part.codes.n);
  }
  linear.n_padded = panels * kernel.columns;
  const size_t bytes = panel_bytes(kernel, linear.k_padded);
  linear.panels = AlignedBuffer<unsigned char>(panels * bytes);
  linear.scale.assign(linear.n_padded, 0.0f);
  linear.bias.assign(linear.n_padded, 0.0f);
  size_t column = 0;
  for (const LinearPart& part : parts) {
    pack_panels(kernel, part.codes, linear.panels.data() + column / kernel.columns * bytes);
    for (size_t j = 0; j < part.codes.n; ++j)
      linear.scale[column + j] = input_scale * part.weight_scale[part.weight_scale.size() == 1 ? 0 : j];
    std::copy(part.bias.begin(), part.bias.end(), linear.bias.begin() + static_cast<std::ptrdiff_t>(column));
    column += part.codes.n;
  }
  return linear;
}

}  // namespace qdqbert::engine
