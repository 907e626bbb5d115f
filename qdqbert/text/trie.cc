#include "qdqbert/text/trie.h"

#include <algorithm>

#include "qdqbert/base/error.h"

namespace qdqbert::text {

Trie::Trie(const std::vector<std::pair<std::string, int32_t>>& keys) {
  make_room(1024);
  nodes_[kRoot].base_and_label = 255;  // taken; no byte of UTF-8, so nobody's child
  std::vector<Range> pending{{kRoot, 0, keys.size(), 0}};
  std::vector<unsigned char> bytes;
  std::vector<size_t> starts;
  while (!pending.empty()) {
    Range range = pending.back();
    pending.pop_back();
    if (range.begin < range.end && keys[range.begin].first.size() == range.depth)
      nodes_[range.state].value = keys[range.begin++].second;
    bytes.clear();
    starts.clear();
    for (size_t i = range.begin; i < range.end; ++i) {
      const auto byte = static_cast<unsigned char>(keys[i].first[range.depth]);
      if (bytes.empty() || bytes.back() != byte) {
        bytes.push_back(byte);
        starts.push_back(i);
      }
    }
    if (bytes.empty()) continue;
    starts.push_back(range.end);
    const uint32_t base = find_base(bytes);
    is_base_[base] = true;
    nodes_[range.state].base_and_label |= base << 8;
    for (const unsigned char byte : bytes) nodes_[base + byte].base_and_label = byte;
    for (size_t b = 0; b < bytes.size(); ++b)
      pending.push_back({base + bytes[b], starts[b], starts[b + 1], range.depth + 1});
  }
  // step() looks up to 255 past any base without a bound check.
  size_t last = nodes_.size() - 1;
  while (nodes_[last].base_and_label == 0) --last;
  nodes_.resize(last + 1 + 256);
  nodes_.shrink_to_fit();
  is_base_ = {};
}

void Trie::make_room(size_t nodes) {
  if (nodes > (size_t{1} << 24) + 1024)
    fail("[vocabulary] its tokens need more than {} trie nodes, which is more than any BERT vocabulary",
         1 << 24);
  nodes_.resize(nodes);
  is_base_.resize(nodes);
}

uint32_t Trie::find_base(const std::vector<unsigned char>& bytes) {
  uint32_t at = std::max<uint32_t>(first_free_, bytes[0] + 2u);
  uint32_t taken = 0;
  const uint32_t start = at;
  for (;; ++at) {
    if (at + 256 >= nodes_.size()) make_room(nodes_.size() * 2);
    if (nodes_[at].base_and_label != 0) {
      ++taken;
      continue;
    }
    const uint32_t base = at - bytes[0];
    bool fits = !is_base_[base];
    for (size_t i = 1; i < bytes.size() && fits; ++i) fits = nodes_[base + bytes[i]].base_and_label == 0;
    if (!fits) continue;
    // A stretch that is nearly full is not searched again: keeps building
    // linear at the price of a few free cells.
    if (at - start > 32 && taken * 20 > (at - start) * 19) first_free_ = at;
    return base;
  }
}

}  // namespace qdqbert::text
