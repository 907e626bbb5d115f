// Some of a request's packed texts as a padded batch, and its outputs as packed ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "qdqbert/engine/plan/plan.h"
#include "qdqbert/engine/session.h"

namespace qdqbert::engine {

class PaddedTexts {
 public:
  /// Texts [first, first + count); check_offsets() has seen them. `source_width`: columns of the encoder
  /// states, 0 for none.
  PaddedTexts(const PackedTexts& texts, size_t first, size_t count, size_t source_width);

  PaddedBatch<int32_t> batch() const;

  /// Appends what the batch gave to `all`, in the form that packed texts have. Throws InputError when an
  /// output has not the values that the plan expects.
  void append(const std::vector<Output>& padded, const Plan& plan, std::vector<Output>& all) const;

 private:
  size_t length_ = 0, source_length_ = 0, choices_;
  std::vector<std::vector<size_t>> rows_, wanted_;  ///< of each text: places in the padded text
  std::vector<int32_t> ids_, types_, mask_, source_mask_;
  std::vector<float> states_;
};

}  // namespace qdqbert::engine
