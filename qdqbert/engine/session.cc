#include "qdqbert/engine/session.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>

#include "qdqbert/base/error.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/engine/check_finite.h"
#include "qdqbert/engine/check_operands.h"
#include "qdqbert/engine/check_quantization.h"
#include "qdqbert/engine/fallback.h"
#include "qdqbert/engine/import_onnx.h"
#include "qdqbert/engine/kernels/self_check.h"
#include "qdqbert/engine/name_inputs.h"
#include "qdqbert/engine/padded_texts.h"
#include "qdqbert/engine/passes/expand.h"
#include "qdqbert/engine/passes/passes.h"
#include "qdqbert/engine/plan/lower.h"
#include "qdqbert/engine/plan/pack_batch.h"
#include "qdqbert/engine/unpacked.h"

namespace qdqbert::engine {

namespace {

namespace fs = std::filesystem;

fs::path model_file(const fs::path& model) {
  std::error_code error;
  if (!fs::is_directory(model, error)) return model;
  const fs::path file = model / "model.onnx";
  if (!fs::exists(file, error))
    fail("[session] {} holds no model.onnx; export one with --save_onnx", model.string());
  return file;
}

/// The padded batch as the engine takes it, whatever the caller's integers are.
template <class Integer>
void check_sizes(const PaddedBatch<Integer>& batch) {
  if (batch.batch == 0) fail("[session] the batch is empty");
  if (batch.length == 0) fail("[session] the texts have length 0");
  const size_t positions = batch.batch * batch.length;
  const auto check = [&](const char* name, size_t size, bool optional) {
    if (size != positions && !(optional && size == 0))
      fail("[session] {} has {} values for a batch of {} x {}", name, size, batch.batch, batch.length);
  };
  check("input_ids", batch.input_ids.size(), false);
  check("attention_mask", batch.attention_mask.size(), true);
  check("token_type_ids", batch.token_type_ids.size(), true);
}

}  // namespace

struct Session::State {
  SessionOptions options;
  std::unique_ptr<Plan> plan;
  std::vector<PlanStep> steps;
  std::vector<std::string> output_names;
  std::string fused;
  Isa isa = Isa::kRef;
  std::string left_out;
  int threads = 1;
  size_t vocabulary = 0;
  size_t longest = SIZE_MAX;

  std::mutex mutex;
  std::condition_variable returned;
  std::vector<std::unique_ptr<Execution>> idle;  ///< streams that no request uses
  int streams_made = 0;

  std::unique_ptr<Unpacked> unpacked;  ///< when there is no plan,
  std::unique_ptr<Fallback> fallback;  ///< else

  /// A stream for one request; given back when the object goes.
  class Lease {
   public:
    explicit Lease(State& state) : state_(state) {
      std::unique_lock lock(state.mutex);
      state.returned.wait(lock,
                          [&] { return !state.idle.empty() || state.streams_made < state.options.streams; });
      if (!state.idle.empty()) {
        execution_ = std::move(state.idle.back());
        state.idle.pop_back();
        return;
      }
      execution_ = std::make_unique<Execution>(*state.plan, state.threads,
                                               state.options.pin ? state.streams_made * state.threads : -1);
      ++state.streams_made;
    }
    ~Lease() {
      const std::lock_guard lock(state_.mutex);
      state_.idle.push_back(std::move(execution_));
      state_.returned.notify_one();
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Execution& operator*() { return *execution_; }

   private:
    State& state_;
    std::unique_ptr<Execution> execution_;
  };

  void load(const fs::path& model);
  /// Whether the graph reads [questions, choices, S].
  bool by_choices = false;
  bool hides_padding = false;
  void check_choices(size_t texts, size_t choices) const {
    if (!by_choices && choices > 0) fail("[session] {} choices for a model that has none", choices);
    if (by_choices && (choices == 0 || texts % choices != 0))
      fail("[session] {} texts with {} choices each, for a multiple-choice model", texts, choices);
  }
  /// `padded_rows`: for each token its row of [B * S]; empty for packed output.
  std::vector<Output> run_packed(const PackedBatch& batch, const std::vector<uint32_t>& padded_rows,
                                 size_t texts, size_t length, size_t choices, Profile* profile);
  /// Each text, or the choices of each question, as a padded batch.
  std::vector<Output> run_one_by_one(const PackedTexts& texts, Profile* profile);
  std::vector<Output> run(const PackedTexts& texts, Profile* profile);
  template <class Integer>
  std::vector<Output> run(const PaddedBatch<Integer>& batch, Profile* profile);
};

void Session::State::load(const fs::path& model) {
  Graph graph = import_onnx(model_file(model));
  check_operands(graph);
  check_quantization(graph);
  check_finite(graph);
  forget_cache(graph);
  name_inputs(graph);
  expand_layers(graph);
  for (const ValueId id : graph.outputs) output_names.push_back(graph.values[id].name);
  const GraphIndex index(graph);
  hides_padding = std::any_of(graph.inputs.begin(), graph.inputs.end(), [&](ValueId id) {
    return is_text_mask(graph.values[id].name) && !index.readers[id].empty();
  });
  for (const ValueId id : graph.inputs)
    if (graph.values[id].name == "input_ids" && graph.values[id].shape && graph.values[id].shape->size() == 3)
      by_choices = true;
  std::string reason = "the session was opened with a general mask";
  if (!options.general_mask) {
    Graph rewritten = graph;
    Graph before = run_passes(rewritten);
    Lowered lowered = lower(rewritten, isa, options.precision);
    fused = to_text(rewritten);
    plan = std::move(lowered.plan);
    reason = lowered.reason;
    if (plan)
      fallback = std::make_unique<Fallback>(*plan, graph, std::move(before), std::move(rewritten.assumptions),
                                            threads);
  } else {
    fused = to_text(graph);
  }
  if (plan) {
    for (const auto& file : graph.files) file->release_pages();
    for (const auto& step : plan->steps) steps.push_back(step->info);
    vocabulary = plan->vocabulary;
    longest = fallback->longest();
    return;
  }
  check_inputs(graph);
  const std::string file = graph.name;
  unpacked = std::make_unique<Unpacked>(std::move(graph), threads);
  if (const std::string missing = unpacked->missing(); !missing.empty())
    fail("[session] {}: {}", file, missing);
  steps.push_back({"the whole graph", "float, unpacked", "reference", reason, 0, 0, 0});
}

std::vector<Output> Session::State::run_packed(const PackedBatch& batch,
                                               const std::vector<uint32_t>& padded_rows, size_t texts,
                                               size_t length, size_t choices, Profile* profile) {
  Lease lease(*this);
  Execution& execution = *lease;
  execution.begin(batch);
  if (profile) profile->step_nanoseconds.clear();
  for (const auto& step : plan->steps) {
    const auto before = std::chrono::steady_clock::now();
    step->run(execution);
    if (profile)
      profile->step_nanoseconds.push_back(
          std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - before)
              .count());
  }
  std::vector<Output> outputs;
  for (const PlanOutput& from : plan->outputs) {
    Output out;
    out.name = from.name;
    const bool by_token = from.rows != RowKind::kTexts;
    const bool padded = by_token && !padded_rows.empty();
    if (by_token && !padded) out.shape = {static_cast<int64_t>(execution.rows(from.rows))};
    if (by_token && padded) out.shape = {static_cast<int64_t>(texts), static_cast<int64_t>(length)};
    if (!by_token) out.shape = {static_cast<int64_t>(texts)};
    if (from.one_position) out.shape.push_back(1);
    if (from.by_choices) out.shape = {static_cast<int64_t>(texts / choices), static_cast<int64_t>(choices)};
    if (from.keeps_columns && !from.by_choices) out.shape.push_back(static_cast<int64_t>(from.columns));
    const size_t rows = execution.rows(from.rows);
    out.values.assign((padded ? texts * length : rows) * from.columns, 0.0f);
    const float* values = execution.floats(from.floats);
    for (size_t r = 0; r < rows; ++r)
      std::memcpy(out.values.data() + (padded ? padded_rows[r] : r) * from.columns,
                  values + r * from.floats.ld, from.columns * sizeof(float));
    outputs.push_back(std::move(out));
  }
  return outputs;
}

template <class Integer>
std::vector<Output> Session::State::run(const PaddedBatch<Integer>& batch, Profile* profile) {
  check_sizes(batch);
  check_choices(batch.batch, batch.choices);
  const auto spent = [&]() -> int64_t* {
    if (!profile) return nullptr;
    profile->step_nanoseconds.assign(steps.size(), 0);
    return profile->step_nanoseconds.data();
  };
  if (!plan) return unpacked->run(batch, by_choices, spent());
  if (const std::string reason = fallback->reason(batch); !reason.empty())
    return fallback->run(batch, reason, spent());
  const PackedBatch packed = pack_batch(*plan, batch);
  std::vector<uint32_t> padded_rows;
  padded_rows.reserve(packed.tokens());
  for (size_t b = 0; b < packed.segments.size(); ++b)
    for (size_t t = 0; t < packed.segments[b].length; ++t)
      padded_rows.push_back(static_cast<uint32_t>(
          b * batch.length + static_cast<size_t>(packed.position_ids[packed.segments[b].begin + t])));
  return run_packed(packed, padded_rows, batch.batch, batch.length, batch.choices, profile);
}

std::vector<Output> Session::State::run_one_by_one(const PackedTexts& texts, Profile* profile) {
  const size_t count = texts.offsets.size() - 1, together = std::max<size_t>(1, texts.choices);
  std::vector<Output> all;
  for (size_t first = 0; first < count; first += together) {
    const PaddedTexts padded(texts, first, together, plan->source_width);
    padded.append(run(padded.batch(), profile), *plan, all);
  }
  return all;
}

std::vector<Output> Session::State::run(const PackedTexts& texts, Profile* profile) {
  if (!plan) fail("[session] the graph does not run packed: {}", steps[0].note);
  check_offsets(texts);
  check_choices(texts.offsets.size() - 1, texts.choices);
  if (!fallback->reason(texts, {}).empty()) return run_one_by_one(texts, profile);
  const PackedBatch packed = pack_batch(*plan, texts, {});
  return run_packed(packed, {}, packed.segments.size(), packed.longest, texts.choices, profile);
}

Session::Session(const fs::path& model, const SessionOptions& options) : state_(std::make_unique<State>()) {
  state_->options = options;
  state_->options.streams = std::max(1, options.streams);
  const Isa wanted = options.isa.value_or(preferred_isa());
  if (!supports(wanted)) fail<UsageError>("[session] this machine does not support {}", name_of(wanted));
  const CheckedIsa checked = checked_isa(wanted);
  state_->isa = checked.isa;
  state_->left_out = checked.left_out;
  state_->threads =
      options.threads > 0 ? options.threads : std::max(1, default_threads() / state_->options.streams);
  state_->load(model);
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

std::vector<Output> Session::run(const PaddedBatch<int64_t>& batch, Profile* profile) const {
  return state_->run(batch, profile);
}
std::vector<Output> Session::run(const PaddedBatch<int32_t>& batch, Profile* profile) const {
  return state_->run(batch, profile);
}
std::vector<Output> Session::run(const PackedTexts& texts, Profile* profile) const {
  return state_->run(texts, profile);
}
std::vector<Output> Session::run(const PackedTexts& texts, std::span<TextCache* const> caches,
                                 Profile* profile) const {
  if (!keeps_cache())
    fail(
        "[session] texts are continued by models in which no token sees a later one, "
        "with integer kernels; this is none");
  check_offsets(texts);
  if (const std::string reason = state_->fallback->reason(texts, caches); !reason.empty())
    fail("[session] texts of this length cannot be continued: {}; run them whole", reason);
  const PackedBatch packed = pack_batch(*state_->plan, texts, caches);
  std::vector<Output> outputs =
      state_->run_packed(packed, {}, packed.segments.size(), packed.longest, texts.choices, profile);
  for (size_t b = 0; b < caches.size(); ++b) packed.caches[b]->tokens += packed.segments[b].length;
  return outputs;
}

bool Session::keeps_cache() const {
  return state_->plan && !state_->plan->cached_widths.empty();
}
size_t Session::encoder_width() const {
  return state_->plan ? state_->plan->source_width : 0;
}

bool Session::packed() const {
  return state_->plan != nullptr;
}
bool Session::hides_padding() const {
  return state_->hides_padding;
}
bool Session::bit_exact() const {
  return state_->plan && state_->plan->bit_exact;
}
bool Session::by_choices() const {
  return state_->by_choices;
}
const std::vector<PlanStep>& Session::plan() const {
  return state_->steps;
}
const std::vector<std::string>& Session::output_names() const {
  return state_->output_names;
}
size_t Session::vocabulary_size() const {
  return state_->vocabulary;
}
size_t Session::longest_text() const {
  return state_->longest;
}
Isa Session::isa() const {
  return state_->isa;
}
const std::string& Session::left_out() const {
  return state_->left_out;
}
int Session::threads() const {
  return state_->threads;
}
std::string Session::fused_graph() const {
  return state_->fused;
}

}  // namespace qdqbert::engine
