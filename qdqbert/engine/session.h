// Answers from an ONNX file: load once, run from many threads.
//
// Letters: B texts of a batch, S positions of the padded batch,
// T tokens of a packed batch (T = sum of lengths).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/base/dtype.h"

namespace qdqbert::engine {

enum class Precision : uint8_t {
  kAuto,      ///< integer kernels wherever the file has Q/DQ pairs, FP32 elsewhere
  kFloat32,   ///< Q/DQ applied in float, oneDNN FP32 for the rest; outside of the bit promise
  kBFloat16,  ///< the same with BF16 matrix multiplications
};

struct SessionOptions {
  Precision precision = Precision::kAuto;
  int threads = 0;   ///< per stream; 0: all cores of the process divided by streams
  int streams = 1;   ///< requests that run side by side; further ones wait
  bool pin = false;  ///< keep each thread on one core
  /// Default: preferred_isa(). Where its kernels do not give the reference's bits on this machine, the best
  /// below it; see Session::left_out().
  std::optional<Isa> isa;
  /// Masks other than 0/1 rows of ones are accepted and the graph runs unpacked,
  /// with the file's own semantics.
  bool general_mask = false;
};

/// A padded batch, row-major [B][S]. Empty spans: mask all ones, types all zero. Masks hold 0 and 1;
/// positions with 0 are removed before anything is computed. Token types and masks that the file has no input
/// for have no effect and are not checked.
template <class Integer>
struct PaddedBatch {
  size_t batch = 0, length = 0;
  std::span<const Integer> input_ids, attention_mask, token_type_ids;
  size_t choices = 0;  ///< multiple choice only
  /// Of a model with cross-attention: what each text reads beside itself, [B][encoder_length][H], and the
  /// mask of it [B][encoder_length]; an empty mask is all ones.
  std::span<const float> encoder_hidden_states = {};
  std::span<const Integer> encoder_attention_mask = {};
  size_t encoder_length = 0;
};

/// Texts one after the other, without padding. Text b is [offsets[b], offsets[b + 1]).
struct PackedTexts {
  std::span<const int32_t> input_ids, token_type_ids;  ///< [T]; empty types: all zero
  std::span<const uint32_t> offsets;                   ///< [B + 1], ascending, the first is 0
  size_t choices = 0;                                  ///< multiple choice only
  /// Of a model with cross-attention: rows [U][H], of which text b reads
  /// [encoder_offsets[b], encoder_offsets[b + 1]).
  std::span<const float> encoder_hidden_states = {};
  std::span<const uint32_t> encoder_offsets = {};
  /// Of a language model: tokens [0, T), ascending, of which the logits are wanted; empty: all. Outputs over
  /// a vocabulary have a row for each of these. Other outputs have all their rows.
  std::span<const uint32_t> wanted = {};
};

/// Keys and values that a causal model has computed for the tokens of one text. A copy goes on by itself: one
/// beam of several. Belongs to the session that filled it.
class TextCache {
 public:
  TextCache();
  ~TextCache();
  TextCache(const TextCache& other);
  TextCache& operator=(const TextCache& other);
  TextCache(TextCache&&) noexcept;
  TextCache& operator=(TextCache&&) noexcept;
  size_t tokens() const;

  struct State;
  /// For the engine.
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

/// A graph output. For padded input the file's own shape ([B, S], [B, labels], ...) with 0 at padding
/// positions; for packed input the token axis pair [B, S] is one axis [T].
struct Output {
  std::string name;
  Shape shape;
  std::vector<float> values;
};

/// One step of the plan.
struct PlanStep {
  std::string name;    ///< of the node that gives the step its result
  std::string kind;    ///< "linear int8", "attention int8", "layernorm", ...
  std::string kernel;  ///< "avx512vnni", "oneDNN f32", "reference", ...
  std::string note;    ///< why not a better one; empty when nothing is to be said
  /// Multiply-adds times two: `per_token` for each token, `per_pair` for each (query, key)
  /// pair of a text, `per_text` for each text.
  double operations_per_token = 0, operations_per_pair = 0, operations_per_text = 0;
};

/// Filled by run() when asked: nanoseconds a step, in the order of the plan.
struct Profile {
  std::vector<int64_t> step_nanoseconds;
};

class Session {
 public:
  /// `model`: an ONNX file, or a directory that holds model.onnx. Throws InputError naming node, operator and
  /// reason when the graph cannot run; SystemError when memory or threads run out.
  explicit Session(const std::filesystem::path& model, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// A packed plan rests on what masks, positions and sizes of the file are for short texts; the first request
  /// of each size asks whether they are so for it, too. Where they are not (local windows, clipped positions),
  /// the request runs as the file is written, outside of the bit promise, and a warning says so once.
  ///
  /// Thread-safe. Throws InputError (ids outside of the vocabulary, a length of 0 or beyond the position
  /// table, an empty batch, a mask that is not 0/1, sizes that do not fit); the session stays usable.
  std::vector<Output> run(const PaddedBatch<int64_t>& batch, Profile* profile = nullptr) const;
  std::vector<Output> run(const PaddedBatch<int32_t>& batch, Profile* profile = nullptr) const;
  /// Throws InputError also when the plan is not packed (see packed()).
  std::vector<Output> run(const PackedTexts& texts, Profile* profile = nullptr) const;

  /// The tokens of text b follow those that `caches[b]` holds, which grows by them; the outputs are those of
  /// the new tokens, the same bits as for the whole text at once. Throws InputError when keeps_cache() is
  /// false or the number of caches is not that of the texts; a cache is as it was then.
  std::vector<Output> run(const PackedTexts& texts, std::span<TextCache* const> caches,
                          Profile* profile = nullptr) const;

  /// Whether every token of the model sees only those before it,
  /// by integer kernels: so that texts can be continued.
  bool keeps_cache() const;
  /// Columns of encoder_hidden_states; 0 for models without cross-attention.
  size_t encoder_width() const;
  /// False: nodes outside of what can be packed keep the padded form; the reason is in the plan's notes.
  bool packed() const;
  /// Whether texts of different lengths may share a padded run: false when the file reads no mask, so that
  /// padding would take part in the answers of the texts beside it.
  bool hides_padding() const;
  /// Whether inputs are [texts / choices, choices, S]: a multiple-choice model.
  bool by_choices() const;
  /// Whether outputs are the same bits on every ISA, for every number of threads, composition of the batch
  /// and padding: so for quantized graphs under kAuto, unless a step of the plan says otherwise.
  bool bit_exact() const;
  const std::vector<PlanStep>& plan() const;
  const std::vector<std::string>& output_names() const;
  size_t vocabulary_size() const;
  /// Rows of the position table; SIZE_MAX when there is none, or when the file reads it in a way that longer
  /// texts do not leave.
  size_t longest_text() const;
  Isa isa() const;
  /// Which kernels that were asked for are not used because they fail on this machine, and how; empty: none.
  const std::string& left_out() const;
  int threads() const;
  /// The graph after all passes, as text.
  std::string fused_graph() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qdqbert::engine
