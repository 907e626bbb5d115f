#include <algorithm>

#include "qdqbert/engine/plan/plan.h"

namespace qdqbert::engine {

namespace {

/// Buffers hold a multiple of this many rows and one more: kernels may read A up to the next multiple
/// of their row_overread, which divides this.
constexpr size_t kSpareRows = 64;
/// Kernels may read up to this many bytes past the last column.
constexpr size_t kSpareBytes = 128;

size_t round_up(size_t a, size_t b) {
  return (a + b - 1) / b * b;
}

}  // namespace

Execution::Execution(const Plan& plan, int threads, int first_core)
    : machine{*plan.gemm, *plan.row_kernels, pool_, {}}, plan_(plan), pool_(threads, first_core) {
  machine.scratch.resize(static_cast<size_t>(threads));
}

void Execution::begin(const PackedBatch& batch) {
  batch_ = &batch;
  size_t scratch = 0;
  for (const auto& step : plan_.steps) scratch = std::max(scratch, step->scratch(batch.longest));
  for (auto& buffer : machine.scratch)
    if (buffer.size() < scratch) buffer = AlignedBuffer<int32_t>(scratch);
  slot_offsets_.clear();
  size_t total = 0;
  for (const Plan::Slot& slot : plan_.slots) {
    slot_offsets_.push_back(total);
    total += round_up((round_up(rows(slot.rows), kSpareRows) + 1) * slot.row_bytes + kSpareBytes, 64);
  }
  if (memory_.size() < total) memory_ = AlignedBuffer<std::byte>(total);
}

Codes Execution::codes(const Stored& at) {
  auto* data = reinterpret_cast<uint8_t*>(memory_.data() + slot_offsets_[plan_.buffers[at.buffer].slot]);
  return {data + at.column, at.ld};
}

float* Execution::floats(const Stored& at) {
  return reinterpret_cast<float*>(memory_.data() + slot_offsets_[plan_.buffers[at.buffer].slot]) + at.column;
}

void link_weights(Plan& plan) {
  PackedLinear* before = nullptr;
  for (const auto& step : plan.steps) {
    PackedLinear* weights = step->weights();
    if (!weights) continue;
    if (before) before->next = weights;
    before = weights;
  }
}

void assign_slots(Plan& plan) {
  std::vector<BufferId> order(plan.buffers.size());
  for (BufferId id = 0; id < order.size(); ++id) order[id] = id;
  std::stable_sort(order.begin(), order.end(), [&](BufferId a, BufferId b) {
    return plan.buffers[a].first_step < plan.buffers[b].first_step;
  });
  std::vector<size_t> free_after;  // last step in which the slot's buffer is alive
  plan.slots.clear();
  for (const BufferId id : order) {
    Buffer& buffer = plan.buffers[id];
    size_t best = SIZE_MAX;
    for (size_t s = 0; s < plan.slots.size(); ++s) {
      if (free_after[s] >= buffer.first_step || plan.slots[s].rows != buffer.rows) continue;
      // The closest size wastes least; a smaller slot grows.
      const auto distance = [&](size_t slot) {
        const size_t have = plan.slots[slot].row_bytes;
        return have > buffer.row_bytes ? have - buffer.row_bytes : buffer.row_bytes - have;
      };
      if (best == SIZE_MAX || distance(s) < distance(best)) best = s;
    }
    if (best == SIZE_MAX) {
      best = plan.slots.size();
      plan.slots.push_back({buffer.rows, 0});
      free_after.push_back(0);
    }
    plan.slots[best].row_bytes = std::max(plan.slots[best].row_bytes, buffer.row_bytes);
    free_after[best] = buffer.last_step;
    buffer.slot = best;
  }
}

}  // namespace qdqbert::engine
