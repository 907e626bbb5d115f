#include "qdqbert/engine/fallback.h"

#include <algorithm>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/engine/plan/pack_batch.h"

namespace qdqbert::engine {

namespace {

template <class Integer>
std::vector<int64_t> mask_of(std::span<const Integer> mask) {
  return {mask.begin(), mask.end()};
}

/// Without the columns behind the last that a text uses. A plan drops them, so that a batch may be wider than
/// the tables of the file, at which the file itself cannot be asked.
void drop_padding(RequestSizes& sizes) {
  const auto length = static_cast<size_t>(sizes.length);
  size_t used = 0;
  for (size_t i = 0; i < sizes.mask.size(); ++i)
    if (sizes.mask[i] != 0) used = std::max(used, i % length + 1);
  if (used == 0) return;
  for (size_t i = 0, to = 0; i < sizes.mask.size(); ++i)
    if (i % length < used) sizes.mask[to++] = sizes.mask[i];
  sizes.mask.resize(sizes.mask.size() / length * used);
  sizes.length = static_cast<int64_t>(used);
}

}  // namespace

Fallback::Fallback(const Plan& plan, Graph original, Graph before, std::vector<Assumption> assumptions,
                   int threads)
    : plan_(plan),
      file_(original.name),
      unpacked_(std::move(original), threads),
      assumed_(std::move(before), std::move(assumptions)),
      longest_(assumed_.longest()) {}

template <class Integer>
std::string Fallback::reason(const PaddedBatch<Integer>& batch) const {
  RequestSizes sizes;
  sizes.batch = static_cast<int64_t>(batch.batch);
  sizes.length = static_cast<int64_t>(batch.length);
  sizes.choices = static_cast<int64_t>(std::max<size_t>(1, batch.choices));
  sizes.sources = static_cast<int64_t>(batch.encoder_length);
  sizes.mask = mask_of(batch.attention_mask);
  if (batch.encoder_attention_mask.size() == batch.batch * batch.encoder_length)
    sizes.source_mask = mask_of(batch.encoder_attention_mask);
  if (batch.length > longest_) drop_padding(sizes);
  return assumed_.broken(std::move(sizes));
}

std::string Fallback::reason(const PackedTexts& texts, std::span<TextCache* const> caches) const {
  for (size_t b = 0; b + 1 < texts.offsets.size(); ++b) {
    RequestSizes sizes;
    sizes.choices = sizes.batch = static_cast<int64_t>(std::max<size_t>(1, texts.choices));
    sizes.length = texts.offsets[b + 1] - texts.offsets[b];
    if (b < caches.size()) sizes.length += static_cast<int64_t>(caches[b]->tokens());
    if (b + 1 < texts.encoder_offsets.size() && texts.encoder_offsets[b + 1] > texts.encoder_offsets[b])
      sizes.sources = texts.encoder_offsets[b + 1] - texts.encoder_offsets[b];
    std::string reason = assumed_.broken(std::move(sizes));
    if (!reason.empty()) return reason;
  }
  return {};
}

template <class Integer>
std::vector<Output> Fallback::run(const PaddedBatch<Integer>& batch, const std::string& reason,
                                  int64_t* nanoseconds) const {
  check_values(plan_, batch);
  if (const std::string missing = unpacked_.missing(); !missing.empty())
    fail("[session] {}: texts of {} tokens cannot run packed ({}), nor unpacked: {}", file_, batch.length,
         reason, missing);
  std::call_once(said_, [&] {
    log_warning("[session] {}: texts of {} tokens run unpacked and slowly, because there {}", file_,
                batch.length, reason);
  });
  std::vector<Output> outputs;
  try {
    outputs = unpacked_.run(batch, plan_.by_choices, nanoseconds);
  } catch (const InputError& error) {
    if (batch.length <= plan_.positions) throw;
    fail("[session] a text has {} tokens, the model has {} positions: {}", batch.length, plan_.positions,
         error.what());
  }
  for (size_t o = 0; o < outputs.size() && !batch.attention_mask.empty(); ++o) {
    if (plan_.outputs[o].rows == RowKind::kTexts) continue;
    const size_t columns = outputs[o].values.size() / batch.attention_mask.size();
    for (size_t row = 0; row < batch.attention_mask.size(); ++row)
      if (batch.attention_mask[row] == 0)
        std::fill_n(outputs[o].values.begin() + static_cast<std::ptrdiff_t>(row * columns), columns, 0.0f);
  }
  return outputs;
}

template std::string Fallback::reason(const PaddedBatch<int64_t>&) const;
template std::string Fallback::reason(const PaddedBatch<int32_t>&) const;
template std::vector<Output> Fallback::run(const PaddedBatch<int64_t>&, const std::string&, int64_t*) const;
template std::vector<Output> Fallback::run(const PaddedBatch<int32_t>&, const std::string&, int64_t*) const;

}  // namespace qdqbert::engine
