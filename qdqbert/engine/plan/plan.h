// A graph as a list of steps over packed tokens: which kernel computes what, and where its rows lie.
//
// Letters: T tokens of the packed batch, B texts, H hidden size, S positions of a padded batch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/engine/integer/attention.h"
#include "qdqbert/engine/integer/gemm.h"
#include "qdqbert/engine/session.h"

namespace qdqbert::engine {

/// What a causal model keeps of a text between calls.
struct TextCache::State {
  struct Layer {
    size_t width = 0;
    std::vector<uint8_t> key, value;  ///< codes [tokens][width], and room behind for kernels that read on
    std::vector<float> key_floats;    ///< [tokens][width] where scores depend on distances, else empty
  };
  size_t tokens = 0;
  std::vector<Layer> layers;
};

/// A batch without its padding.
struct PackedBatch {
  std::vector<int32_t> input_ids, token_type_ids, position_ids;  ///< [T]
  std::vector<Segment> segments;                                 ///< [B]
  size_t longest = 0;            ///< tokens of the longest text, with those of its cache, or of what it reads
  std::vector<uint32_t> wanted;  ///< tokens, ascending; empty: all
  std::vector<TextCache::State*> caches;  ///< [B], or none
  std::vector<float> source_rows;         ///< of a cross-attention, [U][H]
  std::vector<Segment> sources;           ///< [B], rows that each text reads
  size_t tokens() const { return input_ids.size(); }
};

enum class RowKind : uint8_t {
  kTokens,
  kTexts,
  kSources,  ///< rows of encoder_hidden_states
  kWanted,   ///< tokens that logits over a vocabulary are asked for
};

/// Rows of one stored value: `ld` elements from row to row.
using BufferId = uint32_t;
struct Buffer {
  RowKind rows = RowKind::kTokens;
  size_t row_bytes = 0;
  size_t first_step = 0, last_step = 0;  ///< alive in between
  size_t slot = 0;                       ///< of the arena; buffers that are never alive together share one
};

/// Codes or floats within a buffer: columns from `column` on.
struct Stored {
  BufferId buffer = 0;
  size_t column = 0, ld = 0;  ///< in elements
};

struct Plan;

/// What one request needs while it runs: threads, kernels, memory for activations.
/// Kept from request to request.
class Execution {
 public:
  /// `first_core` as in WorkerPool.
  Execution(const Plan& plan, int threads, int first_core);

  /// Makes room for the batch.
  void begin(const PackedBatch& batch);
  const PackedBatch& batch() const { return *batch_; }
  size_t rows(RowKind kind) const {
    if (kind == RowKind::kSources)
      return batch_->sources.empty() ? 0 : batch_->sources.back().begin + batch_->sources.back().length;
    if (kind == RowKind::kWanted && !batch_->wanted.empty()) return batch_->wanted.size();
    return kind != RowKind::kTexts ? batch_->tokens() : batch_->segments.size();
  }
  Codes codes(const Stored& at);
  float* floats(const Stored& at);

  Machine machine;

 private:
  const Plan& plan_;
  WorkerPool pool_;
  AlignedBuffer<std::byte> memory_;
  std::vector<size_t> slot_offsets_;
  const PackedBatch* batch_ = nullptr;
};

class Step {
 public:
  explicit Step(PlanStep what) : info(std::move(what)) {}
  virtual ~Step() = default;
  virtual void run(Execution& execution) const = 0;
  /// int32 values of scratch per worker that the step needs.
  virtual size_t scratch(size_t longest_text) const {
    (void)longest_text;
    return 0;
  }
  /// The weights that the step reads with the integer kernels, or null.
  virtual PackedLinear* weights() { return nullptr; }
  PlanStep info;
};

/// Where a graph output comes from.
struct PlanOutput {
  std::string name;
  RowKind rows = RowKind::kTokens;
  size_t columns = 1;
  bool keeps_columns = true;  ///< false: [B, S] and not [B, S, 1]
  bool by_choices = false;    ///< one value a text, shown as [B / choices, choices]
  bool one_position = false;  ///< [B, 1, H] and not [B, H]
  Stored floats;
};

/// Immutable once made; shared by all streams of a session.
struct Plan {
  const GemmS8Kernel* gemm = nullptr;
  const RowKernels* row_kernels = nullptr;
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<Buffer> buffers;
  struct Slot {
    RowKind rows;
    size_t row_bytes;
  };
  std::vector<Slot> slots;
  std::vector<PlanOutput> outputs;
  size_t vocabulary = 0, token_types = 1;
  bool reads_types = false;     ///< else the caller's token types have no effect and are not looked at
  size_t positions = SIZE_MAX;  ///< rows of the position table
  bool bit_exact = true;        ///< no step whose order of summation is a library's
  bool reads_first_token = false;
  /// Columns of keys and values of a causal plan's layers; empty when some token sees a later one.
  std::vector<size_t> cached_widths;
  size_t source_width = 0;            ///< columns of encoder_hidden_states; 0: not read
  bool by_choices = false;            ///< inputs are [B, choices, S]
  std::shared_ptr<const void> owner;  ///< keeps embedding tables mapped
};

/// Gives each buffer a slot: a linear scan over the steps in which it is alive.
void assign_slots(Plan& plan);

/// Tells each step's weights which come next.
void link_weights(Plan& plan);

}  // namespace qdqbert::engine
