// The texts that `qdqbert bench` runs, made before anything is timed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "qdqbert/engine/session.h"

namespace qdqbert::cli {

/// Lengths of texts in the order in which they come: the 32 middle values of as many equal parts
/// of the feature lengths of SQuAD v1.1 dev (bert-base-uncased, 384 tokens, stride 128),
/// scaled so that the longest is `longest`.
std::vector<size_t> mixed_lengths(size_t longest);

/// One length a line, 1 to `longest` each. Throws InputError naming file and line.
std::vector<size_t> read_lengths(const std::filesystem::path& file, size_t longest);

/// One batch, as the session takes it: without padding if it can, else padded to the longest text.
class BenchBatch {
 public:
  /// Ids are drawn from the vocabulary by `seed`, or all one with `ones` (as are types and mask then).
  BenchBatch(const std::vector<size_t>& lengths, const engine::Session& session, uint64_t seed,
             bool ones = false);

  void run(const engine::Session& session, engine::Profile* profile = nullptr) const;
  size_t texts() const { return lengths_.size(); }
  size_t tokens() const { return tokens_; }
  double operations(const engine::PlanStep& step) const;

 private:
  std::vector<size_t> lengths_;
  size_t tokens_ = 0, pairs_ = 0, width_ = 0;
  bool padded_;
  std::vector<int32_t> packed_ids_;
  std::vector<uint32_t> offsets_;
  std::vector<int64_t> ids_, mask_, types_;
};

}  // namespace qdqbert::cli
