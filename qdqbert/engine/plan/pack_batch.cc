#include "qdqbert/engine/plan/pack_batch.h"

#include <algorithm>

#include "qdqbert/base/error.h"

namespace qdqbert::engine {

TextCache::TextCache() : state_(std::make_unique<State>()) {}
TextCache::~TextCache() = default;
TextCache::TextCache(const TextCache& other) : state_(std::make_unique<State>(*other.state_)) {}
TextCache& TextCache::operator=(const TextCache& other) {
  state_ = std::make_unique<State>(*other.state_);
  return *this;
}
TextCache::TextCache(TextCache&&) noexcept = default;
TextCache& TextCache::operator=(TextCache&&) noexcept = default;
size_t TextCache::tokens() const {
  return state_->tokens;
}

namespace {

int32_t checked_id(const char* name, int64_t id, size_t limit) {
  if (id < 0 || static_cast<uint64_t>(id) >= limit)
    fail("[session] {} holds {}, the model knows 0 to {}", name, id, limit - 1);
  return static_cast<int32_t>(id);
}

template <class Integer>
int32_t token_type(const Plan& plan, std::span<const Integer> given, size_t at) {
  if (given.empty() || !plan.reads_types) return 0;
  return checked_id("token_type_ids", static_cast<int64_t>(given[at]), plan.token_types);
}

bool is_kept(int64_t mask) {
  if (mask != 0 && mask != 1)
    fail(
        "[session] attention_mask holds {}; open the session with a general "
        "mask for other than 0 and 1",
        mask);
  return mask == 1;
}

void check_position(const Plan& plan, size_t position) {
  if (position >= plan.positions)
    fail("[session] a text has {} tokens, the model has {} positions", position + 1, plan.positions);
}

/// Caches of this model, each for one text.
void check_caches(const Plan& plan, std::span<TextCache* const> caches, size_t texts) {
  if (caches.empty()) return;
  if (caches.size() != texts) fail("[session] {} caches for {} texts", caches.size(), texts);
  for (size_t b = 0; b < caches.size(); ++b) {
    if (std::count(caches.begin(), caches.end(), caches[b]) != 1)
      fail("[session] text {} shares its cache with another", b);
    TextCache::State& state = caches[b]->state();
    if (state.tokens == 0) {
      state.layers.assign(plan.cached_widths.size(), {});
      for (size_t i = 0; i < state.layers.size(); ++i) state.layers[i].width = plan.cached_widths[i];
    }
    bool fits = state.layers.size() == plan.cached_widths.size();
    for (size_t i = 0; fits && i < state.layers.size(); ++i)
      fits = state.layers[i].width == plan.cached_widths[i];
    if (!fits) fail("[session] the cache of text {} was filled by another model", b);
  }
}

template <class Integer>
void pack_sources(const Plan& plan, const PaddedBatch<Integer>& batch, PackedBatch& packed) {
  const size_t width = plan.source_width, rows = batch.batch * batch.encoder_length;
  if (width == 0) {
    if (!batch.encoder_hidden_states.empty())
      fail("[session] encoder_hidden_states for a model without cross-attention");
    return;
  }
  if (rows == 0 || batch.encoder_hidden_states.size() != rows * width)
    fail("[session] encoder_hidden_states has {} values, {} texts of {} rows need {}",
         batch.encoder_hidden_states.size(), batch.batch, batch.encoder_length, rows * width);
  if (!batch.encoder_attention_mask.empty() && batch.encoder_attention_mask.size() != rows)
    fail("[session] encoder_attention_mask has {} values for a batch of {} x {}",
         batch.encoder_attention_mask.size(), batch.batch, batch.encoder_length);
  size_t count = 0;
  for (size_t b = 0; b < batch.batch; ++b) {
    const size_t begin = count;
    for (size_t r = b * batch.encoder_length; r < (b + 1) * batch.encoder_length; ++r) {
      const auto kept = batch.encoder_attention_mask.empty() ? Integer{1} : batch.encoder_attention_mask[r];
      if (kept != 0 && kept != 1) fail("[session] encoder_attention_mask holds {}, 0 and 1 are known", kept);
      if (kept == 0) continue;
      const auto row = batch.encoder_hidden_states.subspan(r * width, width);
      packed.source_rows.insert(packed.source_rows.end(), row.begin(), row.end());
      ++count;
    }
    if (count == begin) fail("[session] text {} has no row that encoder_attention_mask keeps", b);
    packed.sources.push_back({begin, count - begin});
    packed.longest = std::max(packed.longest, count - begin);
  }
}

void pack_sources(const Plan& plan, const PackedTexts& texts, PackedBatch& packed) {
  const size_t width = plan.source_width;
  if (width == 0) {
    if (!texts.encoder_hidden_states.empty())
      fail("[session] encoder_hidden_states for a model without cross-attention");
    return;
  }
  const auto& offsets = texts.encoder_offsets;
  if (offsets.size() != texts.offsets.size() || offsets.front() != 0 ||
      texts.encoder_hidden_states.size() != offsets.back() * width)
    fail("[session] {} values of encoder_hidden_states and {} of encoder_offsets for {} texts and {} columns",
         texts.encoder_hidden_states.size(), offsets.size(), texts.offsets.size() - 1, width);
  packed.source_rows.assign(texts.encoder_hidden_states.begin(), texts.encoder_hidden_states.end());
  for (size_t b = 0; b + 1 < offsets.size(); ++b) {
    if (offsets[b + 1] <= offsets[b] || offsets[b + 1] > offsets.back())
      fail("[session] text {} reads rows {} to {} of {}", b, offsets[b], offsets[b + 1], offsets.back());
    packed.sources.push_back({offsets[b], offsets[b + 1] - offsets[b]});
    packed.longest = std::max(packed.longest, packed.sources.back().length);
  }
}

}  // namespace

template <class Integer>
void check_values(const Plan& plan, const PaddedBatch<Integer>& batch) {
  for (size_t b = 0; b < batch.batch; ++b) {
    bool any = false;
    for (size_t at = b * batch.length; at < (b + 1) * batch.length; ++at) {
      if (!batch.attention_mask.empty() && !is_kept(static_cast<int64_t>(batch.attention_mask[at]))) continue;
      any = true;
      checked_id("input_ids", static_cast<int64_t>(batch.input_ids[at]), plan.vocabulary);
      token_type(plan, batch.token_type_ids, at);
    }
    if (!any) fail("[session] text {} has no token that attention_mask keeps", b);
  }
}

void check_offsets(const PackedTexts& texts) {
  if (texts.offsets.size() < 2) fail("[session] the batch is empty");
  if (texts.offsets.front() != 0 || texts.offsets.back() != texts.input_ids.size())
    fail("[session] offsets go from {} to {}, there are {} tokens", texts.offsets.front(),
         texts.offsets.back(), texts.input_ids.size());
  if (!texts.token_type_ids.empty() && texts.token_type_ids.size() != texts.input_ids.size())
    fail("[session] {} token types for {} tokens", texts.token_type_ids.size(), texts.input_ids.size());
  for (size_t b = 0; b + 1 < texts.offsets.size(); ++b) {
    const size_t begin = texts.offsets[b], end = texts.offsets[b + 1];
    if (end <= begin || end > texts.input_ids.size())
      fail("[session] text {} goes from token {} to {} of {}", b, begin, end, texts.input_ids.size());
  }
}

template <class Integer>
PackedBatch pack_batch(const Plan& plan, const PaddedBatch<Integer>& batch) {
  PackedBatch packed;
  for (size_t b = 0; b < batch.batch; ++b) {
    const size_t begin = packed.tokens();
    for (size_t s = 0; s < batch.length; ++s) {
      const size_t at = b * batch.length + s;
      if (!batch.attention_mask.empty()) {
        if (!is_kept(static_cast<int64_t>(batch.attention_mask[at]))) continue;
      }
      check_position(plan, s);
      packed.input_ids.push_back(
          checked_id("input_ids", static_cast<int64_t>(batch.input_ids[at]), plan.vocabulary));
      packed.token_type_ids.push_back(token_type(plan, batch.token_type_ids, at));
      packed.position_ids.push_back(static_cast<int32_t>(s));
    }
    const size_t length = packed.tokens() - begin;
    if (length == 0) fail("[session] text {} has no token that attention_mask keeps", b);
    if (plan.reads_first_token && packed.position_ids[begin] != 0)
      fail("[session] attention_mask hides the first token of text {}, which the pooler reads", b);
    packed.segments.push_back({begin, length});
    packed.longest = std::max(packed.longest, length);
  }
  pack_sources(plan, batch, packed);
  return packed;
}

PackedBatch pack_batch(const Plan& plan, const PackedTexts& texts, std::span<TextCache* const> caches) {
  check_caches(plan, caches, texts.offsets.size() - 1);
  PackedBatch packed;
  for (size_t b = 0; b + 1 < texts.offsets.size(); ++b) {
    const size_t begin = texts.offsets[b], end = texts.offsets[b + 1];
    const size_t before = caches.empty() ? 0 : caches[b]->tokens();
    check_position(plan, before + end - begin - 1);
    for (size_t t = begin; t < end; ++t) {
      packed.input_ids.push_back(checked_id("input_ids", texts.input_ids[t], plan.vocabulary));
      packed.token_type_ids.push_back(token_type(plan, texts.token_type_ids, t));
      packed.position_ids.push_back(static_cast<int32_t>(before + t - begin));
    }
    packed.segments.push_back({begin, end - begin});
    packed.longest = std::max(packed.longest, before + end - begin);
  }
  for (const uint32_t token : texts.wanted) {
    if (token >= packed.tokens() || (!packed.wanted.empty() && token <= packed.wanted.back()))
      fail("[session] token {} is wanted, there are {}; each can be named once, in ascending order", token,
           packed.tokens());
    packed.wanted.push_back(token);
  }
  pack_sources(plan, texts, packed);
  for (TextCache* cache : caches) packed.caches.push_back(&cache->state());
  return packed;
}

template void check_values(const Plan& plan, const PaddedBatch<int64_t>& batch);
template void check_values(const Plan& plan, const PaddedBatch<int32_t>& batch);
template PackedBatch pack_batch(const Plan& plan, const PaddedBatch<int64_t>& batch);
template PackedBatch pack_batch(const Plan& plan, const PaddedBatch<int32_t>& batch);

}  // namespace qdqbert::engine
