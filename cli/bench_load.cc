#include "cli/bench_load.h"

#include <algorithm>
#include <charconv>
#include <random>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

namespace qdqbert::cli {

std::vector<size_t> mixed_lengths(size_t longest) {
  static constexpr size_t kSquad[32] = {61,  86,  103, 112, 119, 123, 128, 131, 134, 138, 142,
                                        145, 149, 153, 157, 161, 166, 170, 175, 180, 185, 191,
                                        197, 203, 211, 218, 228, 242, 259, 279, 309, 384};
  std::vector<size_t> lengths;
  // 13 has no divisor in common with 32: every value once, long and short ones side by side.
  for (size_t i = 0; i < 32; ++i) lengths.push_back(std::max<size_t>(1, kSquad[i * 13 % 32] * longest / 384));
  return lengths;
}

std::vector<size_t> read_lengths(const std::filesystem::path& file, size_t longest) {
  const std::string text = read_maybe_gzip(file);
  std::vector<size_t> lengths;
  size_t line = 0;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    const size_t next = end + 1;
    ++line;
    while (end > begin && (text[end - 1] == '\r' || text[end - 1] == ' ')) --end;
    if (end > begin) {
      size_t value = 0;
      const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, value);
      if (error != std::errc() || stop != text.data() + end)
        fail("[bench] {}: line {} is no length: \"{}\"", file.string(), line,
             text.substr(begin, std::min<size_t>(end - begin, 40)));
      if (value < 1 || value > longest)
        fail("[bench] {}: line {} is {}, lengths from 1 to --seq {} are possible", file.string(), line, value,
             longest);
      lengths.push_back(value);
    }
    begin = next;
  }
  if (lengths.empty()) fail("[bench] {} holds no lengths", file.string());
  return lengths;
}

BenchBatch::BenchBatch(const std::vector<size_t>& lengths, const engine::Session& session, uint64_t seed,
                       bool ones)
    : lengths_(lengths) {
  for (const size_t length : lengths_) {
    tokens_ += length;
    pairs_ += length * length;
    width_ = std::max(width_, length);
  }
  // Texts of one length have no padding in either form; padded is what other engines are given.
  padded_ = !session.packed() || tokens_ == lengths_.size() * width_;
  std::minstd_rand random(static_cast<uint32_t>(seed) + 1);
  const auto draw = [&] {
    return ones ? int64_t{1}
                : static_cast<int64_t>(random() % std::max<size_t>(session.vocabulary_size(), 1));
  };
  if (padded_) {
    ids_.assign(lengths_.size() * width_, 0);
    mask_.assign(ids_.size(), 0);
    types_.assign(ids_.size(), 0);
    for (size_t b = 0; b < lengths_.size(); ++b)
      for (size_t t = 0; t < lengths_[b]; ++t) {
        ids_[b * width_ + t] = draw();
        mask_[b * width_ + t] = 1;
        types_[b * width_ + t] = ones ? 1 : 0;
      }
    return;
  }
  offsets_.push_back(0);
  for (const size_t length : lengths_) {
    for (size_t t = 0; t < length; ++t) packed_ids_.push_back(static_cast<int32_t>(draw()));
    offsets_.push_back(static_cast<uint32_t>(packed_ids_.size()));
  }
}

void BenchBatch::run(const engine::Session& session, engine::Profile* profile) const {
  if (padded_) {
    engine::PaddedBatch<int64_t> batch;
    batch.batch = lengths_.size();
    batch.length = width_;
    batch.input_ids = ids_;
    batch.attention_mask = mask_;
    batch.token_type_ids = types_;
    session.run(batch, profile);
    return;
  }
  engine::PackedTexts texts;
  texts.input_ids = packed_ids_;
  texts.offsets = offsets_;
  session.run(texts, profile);
}

double BenchBatch::operations(const engine::PlanStep& step) const {
  return step.operations_per_token * static_cast<double>(tokens_) +
         step.operations_per_pair * static_cast<double>(pairs_) +
         step.operations_per_text * static_cast<double>(lengths_.size());
}

}  // namespace qdqbert::cli
