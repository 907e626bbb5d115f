#include "qdqbert/engine/integer/gemm.h"

#include <algorithm>
#include <limits>

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

namespace {

Blocking cut_for(const Machine& machine, const PackedLinear& linear, size_t rows) {
  return cut_panels(rows, linear.n_padded / machine.gemm.columns, panel_bytes(machine.gemm, linear.k_padded),
                    machine.pool.threads(), machine.gemm.rows);
}

/// The panels of a task that its worker will likely claim, unless those of `now` are the same.
Ahead block_of(const PackedLinear& linear, const GemmS8Kernel& kernel, const Blocking& cut, size_t task,
               size_t now) {
  const size_t column = task / cut.row_tasks;
  if (column >= cut.column_tasks || column == now / cut.row_tasks) return {nullptr, 0};
  const Interval block = part_of(linear.n_padded / kernel.columns, 1, cut.column_tasks, column);
  const size_t bytes = panel_bytes(kernel, linear.k_padded);
  return {linear.panels.data() + block.begin * bytes, block.size() * bytes};
}

/// The kernel walks over a block of panels and all rows of a part.
void requantize_at_once(Machine& machine, const PackedLinear& linear, Codes a, size_t rows,
                        const RequantizeTo& to) {
  const GemmS8Kernel& kernel = machine.gemm;
  const size_t panels = linear.n_padded / kernel.columns;
  const size_t bytes = panel_bytes(kernel, linear.k_padded);
  const Blocking cut = cut_for(machine, linear, rows);
  machine.pool.run(cut.tasks(), [&](size_t task, int worker) {
    kernel.enter();
    const Interval columns = part_of(panels, 1, cut.column_tasks, task / cut.row_tasks);
    const Interval part = part_of(rows, cut.row_unit, cut.row_tasks, task % cut.row_tasks);
    const size_t n = columns.begin * kernel.columns;
    const auto threads = static_cast<size_t>(machine.pool.threads());
    const Ahead ahead = task + threads < cut.tasks() ? block_of(linear, kernel, cut, task + threads, task)
                        : linear.next ? block_of(*linear.next, kernel, cut_for(machine, *linear.next, rows),
                                                 static_cast<size_t>(worker), SIZE_MAX)
                                      : Ahead{nullptr, 0};
    kernel.run_requantize(a.data + part.begin * a.ld, a.ld, linear.panels.data() + columns.begin * bytes,
                          linear.k_padded, machine.scratch[static_cast<size_t>(worker)].data(), ahead,
                          {nullptr, 0, part.size(), columns.size() * kernel.columns, linear.scale.data() + n,
                           linear.bias.data() + n, to.activation, to.clip, to.inverse + n,
                           to.out.data + part.begin * to.out.ld + to.column + n, to.out.ld, 0, nullptr, 0});
    kernel.leave();
  });
}

void requantize_by_turns(Machine& machine, const PackedLinear& linear, Codes a, size_t rows,
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

}  // namespace

void gemm_requantize(Machine& machine, const PackedLinear& linear, Codes a, size_t rows,
                     const RequantizeTo& to) {
  // A kernel with run_requantize reads A as it is stored, so no panel is flipped.
  if (machine.gemm.run_requantize && to.inverse) return requantize_at_once(machine, linear, a, rows, to);
  requantize_by_turns(machine, linear, a, rows, to);
}

bool needs_local_codes(const GemmS8Kernel& kernel, const ResidualNorm& norm) {
  return kernel.run_requantize && norm.local_scale > 0;
}

void gemm_residual_norm(Machine& machine, const PackedLinear& linear, Codes a, size_t rows,
                        const ResidualNorm& norm, const Residual& residual, const LocalCodes& local,
                        const std::vector<Codes>& outputs, float* float_out, size_t ld_out) {
  const GemmS8Kernel& kernel = machine.gemm;
  const bool at_once = needs_local_codes(kernel, norm);
  if (at_once) {
    RequantizeTo to{};
    to.out = local.codes;
    to.inverse = local.inverse;
    to.clip = std::numeric_limits<float>::infinity();
    requantize_at_once(machine, linear, a, rows, to);
  }
  const size_t panels = linear.n_padded / kernel.columns;
  const size_t bytes = panel_bytes(kernel, linear.k_padded);
  const Blocking cut = cut_rows(rows, machine.pool.threads(), kernel.rows, kernel.least_rows);
  const size_t n = divide_up(linear.n, 16) * 16;
  machine.pool.run(cut.tasks(), [&](size_t task, int worker) {
    int32_t* acc = machine.scratch[static_cast<size_t>(worker)].data();
    const Interval part = part_of(rows, cut.row_unit, cut.row_tasks, task);
    const size_t m = part.begin;
    const size_t now = part.size();
    const size_t ld = linear.n_padded;
    if (!at_once) {
      kernel.enter();
      for (size_t p = 0; p < panels; ++p)
        kernel.run(a.data + m * a.ld, a.ld, now, linear.panels.data() + p * bytes, linear.k_padded,
                   acc + p * kernel.columns, ld);
      kernel.leave();
    }
    CodeOutput to[8];
    const size_t count = std::min<size_t>(outputs.size(), std::size(to));
    for (size_t o = 0; o < count; ++o)
      to[o] = {outputs[o].data + m * outputs[o].ld, outputs[o].ld, 1.0f / norm.output_scales[o],
               machine.flip()};
    const bool quantized = norm.local_scale > 0;
    machine.rows.residual_layernorm(
        {at_once ? nullptr : acc,
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
         reinterpret_cast<float*>(at_once ? acc : acc + kRowBlock * ld),
         float_out ? float_out + m * ld_out : nullptr,
         ld_out,
         to,
         count,
         at_once ? local.codes.data + m * local.codes.ld : nullptr,
         local.codes.ld});
  });
}

}  // namespace qdqbert::engine
