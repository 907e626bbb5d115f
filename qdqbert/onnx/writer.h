// Model files: one file, or the graph beside its larger tensors.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "qdqbert/onnx/model.h"

namespace qdqbert::onnx {

/// Larger tensors begin at multiples of this in either file,
/// so that a mapping of it can be read with vectors.
inline constexpr size_t kDataAlignment = 64;

struct WriteOptions {
  /// With more tensor bytes than this the tensors larger than kInlineBytes go to "<file name>.data" beside
  /// the model. A message cannot hold 2 GiB, so larger thresholds count as 1.75 GiB.
  size_t external_data_threshold = size_t{1} << 30;
};

/// Writes `path`, and `path`.data when the threshold asks for it, through temporary files:
/// what was there before stays until everything is written. Returns the files written.
/// Throws SystemError when the disk refuses.
std::vector<std::filesystem::path> write_model(const Model& model, const std::filesystem::path& path,
                                               const WriteOptions& options = {});

}  // namespace qdqbert::onnx
