#include "qdqbert/nn/residual_norm.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "qdqbert/base/math.h"
#include "qdqbert/nn/dropout.h"
#include "qdqbert/nn/kernels/rows.h"

namespace qdqbert::nn {
namespace {

namespace ag = torch::autograd;

constexpr int64_t kBitsPerWord = 64;
// Rows whose gradients of weight and bias are summed before those sums are: part of the result's definition.
constexpr int64_t kGroup = 256;

// Rows that go through all steps together: they fit the nearest caches, and their bits fill whole words.
int64_t block_rows(int64_t columns) {
  return columns % 4 == 0 ? 16 : 64;
}

const uint64_t* words_of(const at::Tensor& mask) {
  return static_cast<const uint64_t*>(mask.data_ptr());
}

at::Tensor mask_for(int64_t elements) {
  return at::empty({divide_up(elements, kBitsPerWord) + 1}, at::kLong);
}

struct Kept {
  at::Tensor y, sum, mean, inverse;
  at::Tensor x_passes, residual_passes;  // undefined: everywhere
  float scale = 1;                       // of what passes of x
};

Kept forward(const ResidualNorm& o, bool keeps_masks) {
  const at::Tensor x = o.x.detach().contiguous(), weight = o.weight.detach().contiguous(),
                   bias = o.bias.detach().contiguous();
  const at::Tensor residual = o.residual.defined() ? o.residual.detach().contiguous() : at::Tensor();
  const int64_t columns = x.size(-1), rows = x.numel() / columns, elements = x.numel();
  Kept kept{at::empty_like(x),
            at::empty_like(x),
            at::empty({rows}, at::kFloat),
            at::empty({rows}, at::kFloat),
            {},
            {}};
  DropoutMask dropped;
  if (o.dropout > 0) {
    dropped = next_dropout_mask(elements, o.dropout);
    kept.scale = dropped.scale;
  }
  const bool drops = dropped.words.defined();
  if (keeps_masks && !o.local.is_inert()) {
    kept.x_passes = mask_for(elements);
  } else if (keeps_masks && drops) {
    kept.x_passes = dropped.words;
  }
  if (keeps_masks && residual.defined() && !o.added.is_inert()) kept.residual_passes = mask_for(elements);

  const RowKernels& kernels = row_kernels();
  const int64_t height = block_rows(columns), blocks = divide_up(rows, height);
  const float *in = x.data_ptr<float>(), *base = residual.defined() ? residual.data_ptr<float>() : nullptr;
  float *sums = kept.sum.data_ptr<float>(), *out = kept.y.data_ptr<float>();
  float* shown = o.dropped.defined() ? o.dropped.data_ptr<float>() : nullptr;
  at::parallel_for(0, blocks, 4, [&](int64_t begin, int64_t end) {
    std::vector<float> quantized(
        base != nullptr && !o.added.is_inert() ? static_cast<size_t>(height * columns) : 0);
    for (int64_t block = begin; block < end; ++block) {
      const int64_t row = block * height, count = std::min(height, rows - row), offset = row * columns;
      const auto length = static_cast<size_t>(count * columns), first = static_cast<size_t>(offset);
      float* sum = sums + offset;
      const float* from = in + offset;
      if (drops) {
        kernels.apply_mask(from, dropped.data(), first, dropped.scale, length, sum);
        from = sum;
      }
      if (shown != nullptr) std::copy(from, from + length, shown + offset);
      if (!o.local.is_inert()) {
        auto* passes =
            kept.x_passes.defined() ? static_cast<uint8_t*>(kept.x_passes.data_ptr()) + offset / 8 : nullptr;
        o.local.run(from, length, sum, passes);
        if (passes != nullptr && drops) {
          auto* words = static_cast<uint64_t*>(kept.x_passes.data_ptr()) + offset / kBitsPerWord;
          const uint64_t* others = dropped.data() + offset / kBitsPerWord;
          for (size_t i = 0; i < divide_up(length, kBitsPerWord); ++i) words[i] &= others[i];
        }
      } else if (!drops) {
        std::copy(from, from + length, sum);
      }
      const float* added = base != nullptr ? base + offset : nullptr;
      if (!quantized.empty()) {
        auto* passes = kept.residual_passes.defined()
                           ? static_cast<uint8_t*>(kept.residual_passes.data_ptr()) + offset / 8
                           : nullptr;
        o.added.run(added, length, quantized.data(), passes);
        added = quantized.data();
      }
      const LayerNormArgs args{static_cast<size_t>(count),
                               static_cast<size_t>(columns),
                               sum,
                               added,
                               weight.data_ptr<float>(),
                               bias.data_ptr<float>(),
                               static_cast<float>(o.epsilon),
                               out + offset,
                               kept.mean.data_ptr<float>() + row,
                               kept.inverse.data_ptr<float>() + row};
      kernels.layer_norm(&args);
    }
  });
  return kept;
}

class ResidualNormFunction : public ag::Function<ResidualNormFunction> {
 public:
  static at::Tensor forward(ag::AutogradContext* context, const at::Tensor& x, const at::Tensor& residual,
                            const at::Tensor& weight, const at::Tensor& bias, const ResidualNorm& operands) {
    Kept kept = nn::forward(operands, true);
    context->save_for_backward(
        {kept.sum, kept.mean, kept.inverse, weight, kept.x_passes, kept.residual_passes});
    context->saved_data["scale"] = static_cast<double>(kept.scale);
    context->saved_data["x"] = x.requires_grad();
    context->saved_data["residual"] = operands.residual.defined() && residual.requires_grad();
    context->saved_data["weights"] = weight.requires_grad() || bias.requires_grad();
    return kept.y;
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const at::Tensor &sum = saved[0], &mean = saved[1], &inverse = saved[2], &x_passes = saved[4],
                     &residual_passes = saved[5];
    const at::Tensor gradient = gradients[0].contiguous(), weight = saved[3].contiguous();
    const auto scale = static_cast<float>(data["scale"].toDouble());
    const bool wants_x = data["x"].toBool(), wants_residual = data["residual"].toBool();
    const int64_t columns = sum.size(-1), rows = mean.numel(), groups = divide_up(rows, kGroup);
    const at::Tensor to_sum = at::empty_like(sum), parts = at::zeros({2, groups, columns}, at::kFloat);
    at::Tensor to_x = x_passes.defined() && wants_x ? at::empty_like(sum) : to_sum;
    at::Tensor to_residual = residual_passes.defined() && wants_residual ? at::empty_like(sum) : to_sum;
    const RowKernels& kernels = row_kernels();
    at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; ++group) {
        float* part = parts.data_ptr<float>() + group * columns;
        const int64_t last = std::min(rows, (group + 1) * kGroup), height = block_rows(columns);
        for (int64_t row = group * kGroup; row < last; row += height) {
          const int64_t offset = row * columns;
          const auto count = static_cast<size_t>(std::min(height, last - row));
          float* d = to_sum.data_ptr<float>() + offset;
          const LayerNormBackwardArgs args{count,
                                           static_cast<size_t>(columns),
                                           sum.data_ptr<float>() + offset,
                                           mean.data_ptr<float>() + row,
                                           inverse.data_ptr<float>() + row,
                                           weight.data_ptr<float>(),
                                           gradient.data_ptr<float>() + offset,
                                           d,
                                           part,
                                           part + groups * columns};
          kernels.layer_norm_backward(&args);
          const auto first = static_cast<size_t>(offset), length = count * static_cast<size_t>(columns);
          if (!to_x.is_same(to_sum)) {
            kernels.apply_mask(d, words_of(x_passes), first, scale, length, to_x.data_ptr<float>() + offset);
          }
          if (!to_residual.is_same(to_sum)) {
            kernels.apply_mask(d, words_of(residual_passes), first, 1.0F, length,
                               to_residual.data_ptr<float>() + offset);
          }
        }
      }
    });
    at::Tensor to_weight, to_bias;
    if (data["weights"].toBool()) {
      // Few numbers: one thread adds them in order.
      const at::Tensor totals = at::zeros({2, columns}, at::kFloat);
      float* total = totals.data_ptr<float>();
      for (int64_t which = 0; which < 2; ++which) {
        for (int64_t group = 0; group < groups; ++group) {
          const float* part = parts.data_ptr<float>() + (which * groups + group) * columns;
          for (int64_t j = 0; j < columns; ++j) total[which * columns + j] += part[j];
        }
      }
      to_weight = totals[0];
      to_bias = totals[1];
    }
    return {wants_x ? to_x : at::Tensor(), wants_residual ? to_residual : at::Tensor(), to_weight, to_bias,
            at::Tensor()};
  }
};

bool is_float_on_cpu(const at::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat;
}

}  // namespace

bool ResidualNorm::fits() const {
  return is_float_on_cpu(x) && x.dim() >= 1 && x.numel() > 0 && is_float_on_cpu(weight) &&
         is_float_on_cpu(bias) && weight.numel() == x.size(-1) &&
         (!residual.defined() || (is_float_on_cpu(residual) && residual.sizes().equals(x.sizes())));
}

at::Tensor residual_norm(const ResidualNorm& o) {
  const bool learns = at::GradMode::is_enabled() &&
                      (o.x.requires_grad() || o.weight.requires_grad() || o.bias.requires_grad() ||
                       (o.residual.defined() && o.residual.requires_grad()));
  if (!learns) return forward(o, false).y;
  // An argument of the graph has to be a tensor.
  return ResidualNormFunction::apply(o.x, o.residual.defined() ? o.residual : at::empty({0}), o.weight,
                                     o.bias, o);
}

}  // namespace qdqbert::nn
