// Finds a range for some numbers with a histogram and rounds them to the 8-bit grid of that range.
#include <cmath>
#include <cstdio>
#include <vector>

#include "qdqbert/quant/fake_quant.h"
#include "qdqbert/quant/histogram_calibrator.h"

int main() {
  using namespace qdqbert::quant;
  std::vector<float> x;
  for (int i = -500; i <= 500; ++i) x.push_back(std::pow(static_cast<float>(i) / 500.0F, 3.0F));
  x.push_back(40.0F);  // one outlier, which a percentile leaves aside

  HistogramCalibrator calibrator(8, std::nullopt, false);
  calibrator.collect(x, {static_cast<int64_t>(x.size())});
  AmaxRequest request;
  request.method = HistogramMethod::kPercentile;
  request.percentile = 99.9;
  const auto amax = calibrator.compute_amax(request);
  if (!amax) return 1;

  std::vector<float> y(x.size());
  fake_quant(x, AmaxView::per_tensor(amax->values[0], x.size()), QuantParams{}, y);
  for (const size_t i : {size_t{0}, size_t{100}, size_t{500}, x.size() - 1})
    std::printf("%9.5f becomes %9.5f\n", static_cast<double>(x[i]), static_cast<double>(y[i]));
  return 0;
}
