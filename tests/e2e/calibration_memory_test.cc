// Memory of calibration does not depend on how many samples it looks at.
#include <gtest/gtest.h>

#include "tests/e2e/command.h"

namespace qdqbert::testing {
namespace {

int64_t peak_of_calibration(int samples) {
  const ScratchDirectory output;
  const std::string model = QDQBERT_SOURCE_DIR "/models/minilm-l6-squad";
  const CommandResult result = run_command({"qa", "--do_calib", "--model_name_or_path", model, "--calib_file",
                                            model + "/dev-1000.json.gz", "--num_calib_samples",
                                            std::to_string(samples), "--calibrator", "percentile",
                                            "--percentile", "99.999", "--output_dir", output / "calibrated"});
  EXPECT_EQ(result.code, 0) << result.err;
  return result.peak_bytes;
}

// Histograms are all that may grow: 84 of them with 2,048 bins of 20 bytes (count, edge, threshold) are 3.4
// MB at first, and a range that doubles adds as much again. 2 % of the 370 MB of this process are twice that;
// the tensors of one batch that is not given back would be 19 MB.
TEST(CalibrationMemory, IsTheSameForEightTimesTheSamples) {
  const int64_t few = peak_of_calibration(32), many = peak_of_calibration(256);
  std::printf("peak %.1f MB with 32 samples, %.1f MB with 256\n", 1e-6 * static_cast<double>(few),
              1e-6 * static_cast<double>(many));
  EXPECT_LE(static_cast<double>(many), 1.02 * static_cast<double>(few));
}

}  // namespace
}  // namespace qdqbert::testing
