#include "qdqbert/engine/integer/gemm.h"

#include <algorithm>

#include "qdqbert/engine/kernels/blocking.h"

namespace qdqbert::engine {

namespace {

size_t divide_up(size_t a, size_t b) {
  return (a + b - 1) / b;
}

}  // namespace

size_t scratch_size(size_t hidden) {
  const size_t norm = kRowBlock * (hidden + 64) + hidden + 64;
  const size_t panel = kRowBlock * 32;
  const size_t embeddings = 33 * (hidden + 64);
  return std::max({norm, panel, embeddings});
}

void gemm_requantize(Machine& machine, const PackedLinear& linear, Codes a, size_t rows,
                     const RequantizeTo& to) {
  const GemmS8Kernel& kernel = machine.gemm;
  const size_t panels = linear.n_padded / kernel.columns;
  const size_t bytes = panel_bytes(kernel, linear.k_padded);
  const Blocking cut = cut_both(rows, panels, machine.pool.threads(), kernel.rows, kernel.least_rows);
  machine.pool.run(cut.tasks(), [&](size_t task, int worker) {
    kernel.enter();
    int32_t* acc = machine.scratch[static_cast<size_t>(worker)].data();
    const Interval columns = part_of(panels, 1, cut.column_tasks, task / cut.row_tasks);
    const Interval part = part_of(rows, cut.row_unit, cut.row_tasks, task % cut.row_tasks);
    for (size_t m = part.begin; m < part.end; m += kRowBlock) {
      const size_t now = std::min(kRowBlock, part.end - m);
      for (size_t p = columns.begin; p < columns.end; ++p) {
        kernel.run(a.data + m * a.ld, a.ld, now, linear.panels.data() + p * bytes, linear.k_padded, acc,
                   kernel.columns);
        const size_t n = p * kernel.columns;
        RequantizeArgs args{acc,
                            kernel.columns,
                            now,
                            kernel.columns,
                            linear.scale.data() + n,
                            linear.bias.data() + n,
                            to.activation,
                            to.clip,
                            nullptr,
                            nullptr,
                            to.out.ld,
                            0,
                            nullptr,
                            to.ld_floats};
        if (to.inverse) {
          args.inverse = to.inverse + n;
          args.codes = to.out.data + m * to.out.ld + to.column + n;
          args.flip = to.panel_flip[p];
        } else {
          args.out = to.floats + m * to.ld_floats + to.column + n;
        }
        machine.rows.requantize(args);
      }
    }
    kernel.leave();
  });
}

void gemm_residual_norm(Machine& machine, const PackedLinear& linear, Codes a, size_t rows,
                        const ResidualNorm& norm, const Residual& residual, const std::vector<Codes>& outputs,
                        float* float_out, size_t ld_out) {
  const GemmS8Kernel& kernel = machine.gemm;
  const size_t panels = linear.n_padded / kernel.columns;
  const size_t bytes = panel_bytes(kernel, linear.k_padded);
  const Blocking cut = cut_rows(rows, machine.pool.threads(), kernel.rows, kernel.least_rows);
  const size_t n = divide_up(linear.n, 16) * 16;
  machine.pool.run(cut.tasks(), [&](size_t task, int worker) {
    kernel.enter();
    int32_t* acc = machine.scratch[static_cast<size_t>(worker)].data();
    const Interval part = part_of(rows, cut.row_unit, cut.row_tasks, task);
    const size_t m = part.begin;
    const size_t now = part.size();
    const size_t ld = linear.n_padded;
    for (size_t p = 0; p < panels; ++p)
      kernel.run(a.data + m * a.ld, a.ld, now, linear.panels.data() + p * bytes, linear.k_padded,
                 acc + p * kernel.columns, ld);
    kernel.leave();
    CodeOutput to[8];
    const size_t count = std::min<size_t>(outputs.size(), std::size(to));
    for (size_t o = 0; o < count; ++o)
      to[o] = {outputs[o].data + m * outputs[o].ld, outputs[o].ld, 1.0f / norm.output_scales[o],
               machine.flip()};
    const bool quantized = norm.local_scale > 0;
    machine.rows.residual_layernorm(
        {acc,
         ld,
         now,
         n,
         linear.n,
         linear.scale.data(),
         linear.bias.data(),
         quantized ? 1.0f / norm.local_scale : 0.0f,
         norm.local_scale,
         norm.residual_scale > 0 ? residual.codes.data + m * residual.codes.ld : nullptr,
         residual.codes.ld,
         machine.flip(),
         norm.residual_scale,
         norm.residual_scale > 0 ? nullptr : residual.floats + m * residual.ld,
         residual.ld,
         norm.gamma.data(),
         norm.beta.data(),
         norm.epsilon,
         reinterpret_cast<float*>(acc + kRowBlock * ld),
         float_out ? float_out + m * ld_out : nullptr,
         ld_out,
         to,
         count});
  });
}

}  // namespace qdqbert::engine
