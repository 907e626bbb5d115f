#include "qdqbert/quant/fake_quant.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "qdqbert/base/error.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/quant/kernels.h"

namespace qdqbert::quant {

namespace {

constexpr float kTiny = 0x1p-24f;

// Below this many elements for each thread, starting the thread costs more than it saves.
constexpr size_t kElementsPerThread = size_t{1} << 17;
constexpr size_t kChunk = size_t{1} << 16;

int threads_for(size_t count, int threads) {
  if (count < 2 * kElementsPerThread) return 1;
  const size_t wanted = static_cast<size_t>(threads > 0 ? threads : default_threads());
  return static_cast<int>(std::min(wanted, count / kElementsPerThread));
}

/// Calls run(offset, length, channel) for the pieces of [begin, end) that share a channel.
template <class Run>
void for_runs(const AmaxView& view, size_t begin, size_t end, const Run& run) {
  if (view.channels == 1) return run(begin, end - begin, 0);
  for (size_t at = begin; at < end;) {
    const size_t row = at / view.inner;
    const size_t length = std::min(end, (row + 1) * view.inner) - at;
    run(at, length, row % view.channels);
    at += length;
  }
}

template <class Run>
void over_all(const AmaxView& view, int threads, const Run& run) {
  const size_t count = view.count();
  const int workers = threads_for(count, threads);
  if (workers == 1) return for_runs(view, 0, count, run);
  parallel_for(count, kChunk, workers, [&](size_t begin, size_t end) { for_runs(view, begin, end, run); });
}

void check_sizes(const AmaxView& view, size_t x, size_t y) {
  if (view.values.size() != view.channels || view.count() != x || x != y)
    fail("[fake_quant] amax is laid over {} elements, input has {} and output {}", view.count(), x, y);
}

/// Scale of every channel as the toolkit's operators compute it: what x is
/// multiplied by, and what q is divided by.
struct Scales {
  std::vector<float> multiply, divide;
};

Scales toolkit_scales(const AmaxView& view, float bound) {
  Scales scales{view.values, view.values};
  float smallest = std::numeric_limits<float>::infinity();
  bool nan = false;
  for (size_t c = 0; c < view.channels; ++c) {
    const float amax = view.values[c];
    smallest = std::min(smallest, amax);
    nan |= amax != amax;
    scales.multiply[c] = scales.divide[c] = bound / amax;
  }
  // The toolkit compares the minimum over all channels, which is NaN as soon as one
  // of them is, so then nothing is checked.
  if (nan) return scales;
  if (smallest < 0) fail("[fake_quant] amax must not be negative, got {}", smallest);
  if (smallest <= kTiny)
    for (size_t c = 0; c < view.channels; ++c)
      if (view.values[c] <= kTiny) {
        scales.multiply[c] = 0;
        scales.divide[c] = 1;
      }
  return scales;
}

struct AffineScale {
  float step, inverse;
};

AffineScale affine_scale(float amax, float bound) {
  const float step = amax / bound;
  return {step, 1.0f / step};
}

void check_negatives(unsigned seen, const QuantParams& params) {
  if (params.is_unsigned && (seen & kSawNegative) && !(seen & kSawNan))
    fail("[fake_quant] unsigned quantization of a tensor with negative values");
}

// Runs of a size that stays in the nearest cache while it is marked and then quantized.
constexpr size_t kRun = 4096;

template <class Run>
void in_short_runs(size_t at, size_t n, const Run& run) {
  for (size_t done = 0; done < n; done += kRun) run(at + done, std::min(kRun, n - done));
}

/// `mask`: where the gradient passes, or nullptr.
void toolkit_forward(std::span<const float> x, const AmaxView& view, const Scales& scales, bool divide,
                     const QuantParams& params, std::span<float> y, uint8_t* mask, int threads) {
  const Kernels& table = kernels();
  const float upper = max_bound(params.num_bits, params.is_unsigned), lower = min_bound(params);
  std::atomic<unsigned> seen{0};
  over_all(view, threads, [&](size_t at, size_t n, size_t c) {
    const float divisor = divide ? scales.divide[c] : 1.0f;
    unsigned flags = 0;
    in_short_runs(at, n, [&](size_t from, size_t count) {
      if (mask != nullptr) table.mark_inside(x.data() + from, count, view.values[c], mask, from);
      flags |=
          table.quantize(x.data() + from, y.data() + from, count, scales.multiply[c], divisor, lower, upper);
    });
    if (flags) seen.fetch_or(flags, std::memory_order_relaxed);
  });
  check_negatives(seen, params);
}

void forward(std::span<const float> x, const AmaxView& amax, const QuantParams& params, std::span<float> y,
             uint8_t* mask, int threads) {
  check_sizes(amax, x.size(), y.size());
  const float upper = max_bound(params.num_bits, params.is_unsigned);
  if (params.arithmetic == Arithmetic::kToolkit)
    return toolkit_forward(x, amax, toolkit_scales(amax, upper), true, params, y, mask, threads);
  const Kernels& table = kernels();
  const float infinity = std::numeric_limits<float>::infinity();
  const float overflow = params.arithmetic == Arithmetic::kAffineSaturating ? infinity : -infinity;
  const float lower = min_bound(params);
  over_all(amax, threads, [&](size_t at, size_t n, size_t c) {
    const AffineScale scale = affine_scale(amax.values[c], upper);
    in_short_runs(at, n, [&](size_t from, size_t count) {
      if (mask != nullptr) table.mark_affine(x.data() + from, count, scale.inverse, lower, upper, mask, from);
      table.affine(x.data() + from, y.data() + from, count, scale.inverse, scale.step, lower, upper,
                   overflow);
    });
  });
}

}  // namespace

float max_bound(int num_bits, bool is_unsigned) {
  return static_cast<float>(std::exp2(num_bits - 1 + (is_unsigned ? 1 : 0)) - 1.0);
}

float min_bound(const QuantParams& params) {
  if (params.is_unsigned) return 0;
  const float bound = max_bound(params.num_bits, false);
  return params.narrow_range && params.arithmetic == Arithmetic::kToolkit ? -bound : -bound - 1.0f;
}

void fake_quant(std::span<const float> x, const AmaxView& amax, const QuantParams& params, std::span<float> y,
                int threads) {
  forward(x, amax, params, y, nullptr, threads);
}

void fake_quant_marked(std::span<const float> x, const AmaxView& amax, const QuantParams& params,
                       std::span<float> y, std::span<uint8_t> mask, int threads) {
  if (mask.size() < (x.size() + 7) / 8)
    fail("[fake_quant] a mask of {} bytes is too short for {} elements", mask.size(), x.size());
  forward(x, amax, params, y, mask.data(), threads);
}

void fake_quant_backward(std::span<const float> x, const AmaxView& amax, const QuantParams& params,
                         std::span<const float> grad_y, std::span<float> grad_x, int threads) {
  check_sizes(amax, x.size(), grad_y.size());
  check_sizes(amax, x.size(), grad_x.size());
  const Kernels& table = kernels();
  if (params.arithmetic == Arithmetic::kToolkit) {
    over_all(amax, threads, [&](size_t at, size_t n, size_t c) {
      table.pass_inside(x.data() + at, grad_y.data() + at, grad_x.data() + at, n, amax.values[c]);
    });
    return;
  }
  const float upper = max_bound(params.num_bits, params.is_unsigned), lower = min_bound(params);
  over_all(amax, threads, [&](size_t at, size_t n, size_t c) {
    const float inverse = affine_scale(amax.values[c], upper).inverse;
    table.pass_affine(x.data() + at, grad_y.data() + at, grad_x.data() + at, n, inverse, lower, upper);
  });
}

void tensor_quant(std::span<const float> x, const AmaxView& amax, const QuantParams& params,
                  std::span<float> q, std::span<float> scale, int threads) {
  check_sizes(amax, x.size(), q.size());
  if (scale.size() != amax.channels)
    fail("[tensor_quant] scale needs {} values, got {}", amax.channels, scale.size());
  const Scales scales = toolkit_scales(amax, max_bound(params.num_bits, params.is_unsigned));
  toolkit_forward(x, amax, scales, false, params, q, nullptr, threads);
  std::copy(scales.divide.begin(), scales.divide.end(), scale.begin());
}

}  // namespace qdqbert::quant
