// Words for the masks of a text.
#pragma once

#include <string>
#include <vector>

#include "qdqbert/pipeline/text_task.h"

namespace qdqbert::pipeline {

struct MaskFillerOptions {
  size_t top_k = 5;  ///< fillers that each mask gets
};

struct Filler {
  std::string token;
  int32_t id = 0;
  double score = 0;  ///< probability, 0 to 1
  std::string text;  ///< of the request with this filler in its place, other masks as they are
};

struct FilledText {
  std::vector<std::vector<Filler>> masks;  ///< for each mask in its order: fillers, best first
  bool truncated = false;                  ///< the end of the text was not read
};

class MaskFiller : public TextTask<TextRequest, FilledText> {
 public:
  explicit MaskFiller(Pipeline pipeline, const MaskFillerOptions& options = {});

  /// Throws InputError for a text without mask too.
  PreparedText prepare(const TextRequest& request) const override;

 private:
  std::vector<uint32_t> masks_of(const text::Encoding& row) const;
  std::vector<TextOutput> run(std::span<const text::Encoding* const> rows,
                              const RunControl& control) const override;
  FilledText answer_from(const PreparedText& prepared, std::span<const TextOutput> outputs) const override;

  MaskFillerOptions options_;
};

}  // namespace qdqbert::pipeline
