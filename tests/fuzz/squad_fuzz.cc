// rooms: tasks text base
// Arbitrary bytes as SQuAD JSON, JSON lines or CSV (the first byte chooses) are refused or become examples,
// whose windows and labels stay inside the context.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "qdqbert/base/error.h"
#include "qdqbert/tasks/squad_dataset.h"
#include "qdqbert/tasks/squad_features.h"

namespace {

const qdqbert::text::Tokenizer& tokenizer() {
  static const qdqbert::text::Tokenizer instance = [] {
    std::vector<std::string> pieces = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "##s", "."};
    for (char c = 'a'; c <= 'z'; ++c) {
      pieces.emplace_back(1, c);
      pieces.push_back(std::string("##") + c);
    }
    return qdqbert::text::Tokenizer(qdqbert::text::Vocabulary(std::move(pieces), "fuzz"), {});
  }();
  return instance;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qdqbert::tasks;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    SquadReadOptions read;
    read.offsets = (data[0] & 16) != 0 ? OffsetCheck::kSkip : OffsetCheck::kRefuse;
    read.require_answers = (data[0] & 4) == 0;
    const std::vector<SquadExample> examples = data[0] % 3 == 0   ? parse_squad_json(text, "fuzz", read)
                                               : data[0] % 3 == 1 ? parse_squad_json_lines(text, "fuzz", read)
                                                                  : parse_squad_csv(text, "fuzz", read);
    FeatureOptions options;
    options.max_length = 24;
    options.stride = 4;
    options.pad_to_max_length = (data[0] & 8) != 0;
    const SquadFeatures features = SquadFeatures::build(examples, tokenizer(), options);
    for (size_t i = 0; i < features.size(); ++i) {
      const size_t width = features.width(i);
      std::vector<int64_t> ids(width), mask(width), types(width);
      features.fill(i, ids, mask, types);
      std::vector<qdqbert::text::Offset> offsets;
      std::vector<uint8_t> is_context;
      features.offsets(i, offsets, is_context);
      const SquadFeature& feature = features[i];
      const auto inside = [&](int64_t position) {
        return position >= 0 && static_cast<size_t>(position) < width;
      };
      if (offsets.size() != width || !inside(feature.start_position) || !inside(feature.end_position))
        std::abort();
    }
  } catch (const qdqbert::InputError&) {
  }
  return 0;
}
