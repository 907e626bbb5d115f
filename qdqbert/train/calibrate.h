// Post-training calibration: float forward passes over sample data, quantizers watching, ranges at the end.
#pragma once

#include <functional>
#include <optional>

#include "qdqbert/base/log.h"
#include "qdqbert/model/bert_model.h"
#include "qdqbert/train/process_group.h"
#include "qdqbert/train/quant_trainer.h"

namespace qdqbert::train {

/// Gives one batch after the other (a `samples` count and the inputs), nullopt at the end.
struct CalibrationBatch {
  /// 0: the batch is run to keep step with other processes, and nothing is taken from it.
  int64_t samples = 0;
  model::ModelInputs inputs;
};
using BatchSource = std::function<std::optional<CalibrationBatch>()>;

/// Runs the model on `source` until it ends with every quantizer collecting and none quantizing, so that
/// ranges come from the float model; quantizers without a calibrator are switched off. Weights do not
/// change, so they are looked at once. Batches are moved to where the model lies, and what quantizers
/// see comes back: histograms and maxima are counted on the CPU. Memory does not grow with the number of
/// samples. Returns the number of samples. Throws InputError naming the quantizer when a value is NaN or
/// infinite, or when there is no sample at all.
///
/// With a group every rank calls it with a source of its own that gives as many batches as everybody's: rank
/// r of n has batches r, n + r, ... of all. Ranges are then those of one process that ran all batches in
/// order, bit for bit; samples are everybody's.
int64_t collect_statistics(model::PreTrainedModel& model, const BatchSource& source, int64_t expected_samples,
                           const ProgressSink& progress = {}, ProcessGroup* group = nullptr);

/// Turns what was collected into ranges (maximum for weights and for --calibrator max, else the histogram
/// method) and switches quantization on again. May be called several times with other methods on one
/// collection; entropy changes the first bin of the histograms, so ask for it last.
void load_ranges(model::PreTrainedModel& model, CalibrationMethod method, std::optional<double> percentile);

/// collect_statistics + load_ranges + --clip-gelu (which the original crashes on here).
int64_t calibrate(model::PreTrainedModel& model, const BatchSource& source, int64_t expected_samples,
                  const QuantOptions& options, const ProgressSink& progress = {},
                  ProcessGroup* group = nullptr);

}  // namespace qdqbert::train
