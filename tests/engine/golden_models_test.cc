// Every golden model case as an ONNX file: its recorded outputs from reference operators, which say what the
// file means, and from the session's own kernels.
#include <algorithm>
#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/engine/session.h"
#include "qdqbert/onnx/checker.h"
#include "qdqbert/onnx/lint.h"
#include "qdqbert/onnx/writer.h"

#include "tests/onnx/golden_bert.h"
#include "tests/support/golden.h"

namespace qdqbert::engine {
namespace {

namespace fs = std::filesystem;
using testing::GoldenBert;
using testing::GoldenFamily;
using testing::GoldenSkip;

/// The inputs of one recorded call.
struct Call {
  size_t batch = 0, length = 0, choices = 0, source_length = 0;
  std::vector<int64_t> ids, mask, types, source_mask;
  std::vector<float> sources;
  std::optional<int> past;  ///< the call whose cache it goes on with
  std::vector<bool> whole;  ///< texts without padding

  PaddedBatch<int64_t> padded() const {
    return {batch, length, ids, mask, types, choices, sources, source_mask, source_length};
  }
};

/// Whether positions are those that a file counts itself.
bool are_plain(const TensorView& positions) {
  const std::vector<int64_t> values = to_int64(positions);
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] != static_cast<int64_t>(i) % positions.shape.back()) return false;
  return true;
}

/// Nothing for calls with arguments that a file has no inputs for.
std::optional<Call> read_call(const io::SafetensorsFile& io, const Json& description, size_t index) {
  static const std::set<std::string> known = {
      "input_ids", "attention_mask",  "token_type_ids", "encoder_hidden_states", "encoder_attention_mask",
      "labels",    "start_positions", "end_positions",  "next_sentence_label"};
  const std::string prefix = "call" + std::to_string(index) + ".input.";
  for (const auto& [name, shape] : description.at("inputs").items()) {
    const TensorView& tensor = io.at(prefix + name);
    if (name == "position_ids" ? !are_plain(tensor) : !known.contains(name)) return std::nullopt;
    if (name.find("mask") == std::string::npos) continue;
    const size_t ranks = name == "attention_mask" ? io.at(prefix + "input_ids").shape.size() : 2;
    if (tensor.shape.size() != ranks || tensor.dtype != DType::kI64) return std::nullopt;
  }
  Call call;
  const auto integers = [&](const char* name) {
    const TensorView* found = io.find(prefix + name);
    return found ? to_int64(*found) : std::vector<int64_t>();
  };
  call.ids = integers("input_ids");
  call.mask = integers("attention_mask");
  call.types = integers("token_type_ids");
  call.source_mask = integers("encoder_attention_mask");
  const Shape& shape = io.at(prefix + "input_ids").shape;
  call.length = static_cast<size_t>(shape.back());
  call.batch = call.ids.size() / call.length;
  if (shape.size() == 3) call.choices = static_cast<size_t>(shape[1]);
  if (const TensorView* sources = io.find(prefix + "encoder_hidden_states")) {
    call.sources = to_float32(*sources);
    call.source_length = static_cast<size_t>(sources->shape[1]);
  }
  if (const Json& past = description.at("past_key_values_from_call"); !past.is_null())
    call.past = past.get<int>();
  const size_t columns = call.mask.empty() ? 0 : call.mask.size() / call.batch;
  for (size_t b = 0; b < call.batch; ++b) {
    const auto row = call.mask.begin() + static_cast<std::ptrdiff_t>(b * columns);
    call.whole.push_back(std::count(row, row + static_cast<std::ptrdiff_t>(columns), 0) == 0);
    if (columns > 0 && std::count(row, row + static_cast<std::ptrdiff_t>(columns), 1) == 0)
      return std::nullopt;
  }
  return call;
}

fs::path kept_files() {
  return fs::path(QDQBERT_BINARY_DIR) / "peer-files" / "models";
}

std::string recorded_name(const std::string& output) {
  if (output == "output_start_logits") return "start_logits";
  if (output == "output_end_logits") return "end_logits";
  return output;
}

class GoldenModel {
 public:
  GoldenModel(const fs::path& directory, const Json& description)
      : directory_(directory),
        description_(description),
        io_(io::SafetensorsFile::open(directory / "io.safetensors")) {}

  /// Values that were compared.
  size_t run(const Json& run) {
    const GoldenBert bert(directory_, description_, run);
    const auto source = bert.source();
    if (!source) return 0;
    run_ = run.at("run").get<std::string>();
    tolerance_ = run.at("suggested_atol").get<double>();
    SCOPED_TRACE(run_);
    // A decoder with cross-attention that was called without encoder states is another graph.
    if (source->cross_attention && !io_.find("call0.input.encoder_hidden_states")) return 0;
    onnx::BertGraphOptions options;
    options.hidden_states = true;
    options.pooler_output = source->has_pooler;
    if (source->is_decoder) options.cache = onnx::GraphCache::kPresent;
    const onnx::Model graph = onnx::build_bert_graph(*source, options);
    EXPECT_TRUE(onnx::check_model(graph));
    EXPECT_EQ(onnx::lint(graph).count(onnx::PairFate::kOrphan), 0);
    // Kept for tests/peer/run_models.py.
    const fs::path kept = kept_files() / (directory_.filename().string() + "-" + run_);
    fs::create_directories(kept);
    const fs::path file = kept / "model.onnx";
    onnx::write_model(graph, file);
    const Json about = {{"directory", directory_.string()}, {"run", run_}, {"tolerance", tolerance_}};
    write_file(kept / "case.json", dump_json(about));
    const bool relative = source->positions == onnx::GraphPositions::kRelativeKey ||
                          source->positions == onnx::GraphPositions::kRelativeKeyQuery;
    // The original takes distances from the new tokens alone (M2): no file of ours gives what it recorded.
    if (source->is_decoder && !relative) {
      options.cache = onnx::GraphCache::kPast;
      onnx::write_model(onnx::build_bert_graph(*source, options), kept / "past.onnx");
    }
    SessionOptions plain;
    plain.general_mask = true;
    const Session session(file), reference(file, plain);
    EXPECT_TRUE(session.packed()) << session.plan()[0].note;
    EXPECT_TRUE(session.bit_exact() || !quantized(run, true));
    EXPECT_EQ(session.keeps_cache(), source->is_decoder && quantized(run, true));
    size_t values = 0;
    std::vector<std::vector<TextCache>> caches;
    const Json& calls = description_.at("calls");
    for (size_t i = 0; i < calls.size(); ++i) {
      SCOPED_TRACE(i);
      caches.emplace_back();
      const auto call = read_call(io_, calls[i], i);
      if (!call) continue;
      if (!call->past) {
        values += compare(reference.run(call->padded()), *call, i, false);
        if (session.packed()) values += compare(session.run(call->padded()), *call, i, true);
      }
      // The original takes distances from the new tokens alone (M2), the engine from the whole text.
      if (session.keeps_cache() && !(call->past && relative)) values += go_on(session, *call, i, caches);
    }
    return values;
  }

 private:
  /// Whether every quantizer of the run quantizes, or with `all` false none.
  static bool quantized(const Json& run, bool all) {
    for (const Json& row : run.at("quantizers"))
      if (row[1].get<bool>() != all) return false;
    return true;
  }

  const TensorView* recorded(const std::string& output, size_t call) const {
    return io_.find(run_ + ".call" + std::to_string(call) + "." + recorded_name(output));
  }

  size_t compare(const std::vector<Output>& outputs, const Call& call, size_t index, bool packed) const {
    size_t count = 0;
    for (const Output& output : outputs) {
      const TensorView* expected = recorded(output.name, index);
      if (!expected) continue;
      EXPECT_EQ(output.shape, expected->shape) << output.name;
      const std::vector<float> values = to_float32(*expected);
      if (values.size() != output.values.size()) continue;
      const bool by_token = !call.mask.empty() && output.shape.size() > 1 &&
                            output.shape[0] * output.shape[1] == static_cast<int64_t>(call.ids.size());
      const size_t columns = values.size() / call.ids.size();
      double largest = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        // Padding is nobody's answer, and no case was drawn again for a tie in it.
        if (by_token && call.mask[i / columns] == 0) continue;
        largest = std::max(largest, std::fabs(double{values[i]} - double{output.values[i]}));
        ++count;
      }
      EXPECT_LE(largest, tolerance_) << output.name
                                     << (packed ? " of the session" : " of reference operators");
    }
    return count;
  }

  /// The call as a continuation of the texts that have no padding.
  size_t go_on(const Session& session, const Call& call, size_t index,
               std::vector<std::vector<TextCache>>& caches) {
    std::vector<TextCache> mine(call.batch);
    if (call.past) {
      mine = caches[static_cast<size_t>(*call.past)];
      if (mine.size() != call.batch) return 0;
    }
    size_t count = 0;
    for (size_t b = 0; b < call.batch; ++b) {
      if (!call.whole[b] || (call.past && mine[b].tokens() == 0)) continue;
      const auto row = [&](const std::vector<int64_t>& from) {
        std::vector<int32_t> values;
        for (size_t s = 0; s < call.length && !from.empty(); ++s)
          values.push_back(static_cast<int32_t>(from[b * call.length + s]));
        return values;
      };
      const std::vector<int32_t> ids = row(call.ids), types = row(call.types);
      const std::vector<uint32_t> offsets = {0, static_cast<uint32_t>(call.length)};
      PackedTexts texts{ids, types, offsets, 0, {}, {}, {}};
      std::vector<float> sources;
      std::vector<uint32_t> source_offsets = {0};
      const size_t width = session.encoder_width();
      for (size_t t = 0; t < call.source_length && width > 0; ++t) {
        const size_t at = b * call.source_length + t;
        if (!call.source_mask.empty() && call.source_mask[at] == 0) continue;
        const auto begin = call.sources.begin() + static_cast<std::ptrdiff_t>(at * width);
        sources.insert(sources.end(), begin, begin + static_cast<std::ptrdiff_t>(width));
      }
      if (width > 0) source_offsets.push_back(static_cast<uint32_t>(sources.size() / width));
      texts.encoder_hidden_states = sources;
      if (width > 0) texts.encoder_offsets = source_offsets;
      TextCache* cache = &mine[b];
      for (const Output& output : session.run(texts, {&cache, 1})) {
        const TensorView* expected = recorded(output.name, index);
        if (!expected || expected->shape.size() < 3) continue;
        const std::vector<float> values = to_float32(*expected);
        double largest = 0;
        for (size_t i = 0; i < output.values.size(); ++i)
          largest = std::max(
              largest, std::fabs(double{values[b * output.values.size() + i]} - double{output.values[i]}));
        EXPECT_LE(largest, tolerance_) << output.name << " of text " << b << " with a cache";
        count += output.values.size();
      }
    }
    caches[index] = std::move(mine);
    return count;
  }

  const fs::path directory_;
  const Json& description_;
  const io::SafetensorsFile io_;
  std::string run_;
  double tolerance_ = 0;
};

TEST(GoldenModels, OutputsOfTheirExports) {
  GoldenFamily family("model_exports");
  fs::remove_all(kept_files());
  std::set<fs::path> directories;
  for (const auto& entry : fs::directory_iterator(testing::golden_dir() / "model"))
    if (fs::exists(entry.path() / "case.json")) directories.insert(entry.path());
  for (const fs::path& directory : directories)
    family.run(directory.filename().string(), [&] {
      const Json description = read_json(directory / "case.json");
      GoldenModel model(directory, description);
      size_t values = 0;
      for (const Json& run : description.at("runs")) values += model.run(run);
      if (values == 0) throw GoldenSkip{"inputs or quantizers that an ONNX file of ours has no form for"};
    });
}

}  // namespace
}  // namespace qdqbert::engine
