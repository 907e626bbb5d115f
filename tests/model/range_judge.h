// Ranges of a calibrated model against recorded ones, and what decides when float32 falls on another side of
// a tie than the recorded run did: a float64 run of the same model (last paragraph of the golden files'
// README).
#pragma once

#include <functional>
#include <memory>

#include "qdqbert/io/safetensors.h"
#include "qdqbert/model/heads.h"
#include "qdqbert/quant/calibrator.h"

namespace qdqbert::testing {

/// How a case is calibrated, for the judge to do again.
struct Calibration {
  /// The model with its weights, never calibrated, on a device.
  std::function<std::shared_ptr<model::PreTrainedModel>(at::Device)> make;
  const io::SafetensorsFile& inputs;  ///< calib0., calib1., ...
  quant::AmaxRequest request;         ///< of histograms
};

/// Compares the ranges of `ours` with those that are recorded: maxima to rounding (1e-5 of the largest),
/// histograms of `collected` to one bin. A range of a histogram that is further off passes only where
/// * a float64 run agrees with the record to one bin,
/// * no value that it was collected from is off by more than rounding (1e-5 of the largest), and
/// * when the values of the float64 run are replaced by float32's one after the other, a single one moves the
///   range away from the record. That one is printed: where it is, its distance to the bin edge that decides,
///   its own error.
/// `ours` and `collected` have the same quantizers in the same order.
void expect_ranges(const model::PreTrainedModel& ours, const model::PreTrainedModel& collected,
                   const io::SafetensorsFile& recorded, const Calibration& calibration);

}  // namespace qdqbert::testing
