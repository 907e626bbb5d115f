// rooms: engine onnx base
// with: tests/onnx/random_bert.cc
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/session.h"

#include "tests/engine/graph_edit.h"
#include "tests/fuzz/index_expressions.h"
#include "tests/onnx/random_bert.h"

// A small model whose mask, positions, token types or distances the bytes write anew, over a few lengths: what
// a session answers is what the file means.
namespace qdqbert {
namespace {

using engine::PaddedBatch;
using fuzz::Bytes;
using fuzz::IndexExpressions;
using testing::GraphEdit;

constexpr int64_t kPositions = 64;

onnx::Model plain_model(onnx::GraphPositions positions) {
  testing::RandomBertOptions options;
  options.head = onnx::GraphHead::kTokenClassification;
  options.layers = 1;
  options.hidden = 8;
  options.heads = 2;
  options.intermediate = 8;
  options.vocabulary = 16;
  options.positions = kPositions;
  options.position_kind = positions;
  options.quantized = false;
  return onnx::build_bert_graph(testing::RandomBert(options).source());
}

/// The Gather that reads a table with the index that is to be another.
void set_index(GraphEdit& edit, const std::string& table, const std::string& index) {
  for (auto& node : *edit.graph().mutable_node())
    if (node.op_type() == "Gather" && node.input(0).find(table) != std::string::npos)
      return node.set_input(1, index);
  std::abort();
}

void change(GraphEdit& edit, Bytes& bytes, bool distances) {
  IndexExpressions say(edit, bytes);
  const unsigned what = 1 + bytes.below(7);
  if (what & 1) edit.redirect(edit.mask_bias(), say.bias());
  if (what & 2) edit.redirect("token_type_ids", say.row(2, true));
  if (!(what & 4)) return;
  if (distances) {
    set_index(edit, "distance_embedding", say.square(2 * kPositions - 1));
  } else {
    const std::string table = "bert.embeddings.position_embeddings.weight",
                      rows = edit.before("Gather", {table, say.row(kPositions, false)}, {{"axis", {0}}});
    for (const auto& node : edit.graph().node())
      if (node.input_size() > 0 && node.input(0) == table && node.output(0) != rows)
        return edit.redirect(node.output(0), rows);
    std::abort();
  }
}

struct Request {
  size_t batch, length;
  std::vector<int64_t> ids, mask, types;
  PaddedBatch<int64_t> view() const { return {batch, length, ids, mask, types}; }
};

Request request_of(Bytes& bytes) {
  Request request{1 + bytes.below(3), 1 + bytes.below(kPositions), {}, {}, {}};
  for (size_t b = 0; b < request.batch; ++b) {
    const unsigned form = bytes.below(4), at = bytes.below(static_cast<unsigned>(request.length));
    for (size_t s = 0; s < request.length; ++s) {
      request.ids.push_back(bytes.below(16));
      request.types.push_back((s * 7 + b) % 3 == 0 ? 1 : 0);
      const bool hidden = form == 1 ? s > at : form == 2 ? s < at : form == 3 && (s * 5 + at) % 3 == 1;
      request.mask.push_back(hidden ? 0 : 1);
    }
  }
  return request;
}

struct Answer {
  std::string refused;
  std::vector<engine::Output> outputs;
};

Answer answer(const engine::Session& session, const PaddedBatch<int64_t>& batch) {
  try {
    return {{}, session.run(batch)};
  } catch (const InputError& error) {
    return {error.what(), {}};
  }
}

[[noreturn]] void differs(const Request& request, const std::string& how) {
  std::fprintf(stderr, "%zu texts of %zu tokens: %s\n", request.batch, request.length, how.c_str());
  std::abort();
}

/// Two orders of float sums over 8 columns; a wrong mask or row moves values by about 0.1.
constexpr float kTolerance = 1e-4f;

void compare(const engine::Session& session, const engine::Session& plain, const Request& request) {
  const Answer found = answer(session, request.view()), expected = answer(plain, request.view());
  for (size_t b = 0; b < request.batch; ++b)
    if (std::span(request.mask).subspan(b * request.length, request.length)[0] == 0 &&
        std::count(request.mask.begin() + static_cast<std::ptrdiff_t>(b * request.length),
                   request.mask.begin() + static_cast<std::ptrdiff_t>((b + 1) * request.length), 1) == 0)
      return;  // refused by one of them alone
  if (found.refused.empty() != expected.refused.empty())
    differs(request, "refused by one alone: " + found.refused + expected.refused);
  if (!found.refused.empty()) return;
  const std::vector<float>&a = found.outputs[0].values, &b = expected.outputs[0].values;
  if (a.size() != b.size() || found.outputs[0].shape != expected.outputs[0].shape)
    differs(request, "shapes differ");
  const size_t columns = a.size() / request.mask.size();
  for (size_t j = 0; j < a.size(); ++j)
    if (request.mask[j / columns] == 1 && !(std::fabs(a[j] - b[j]) <= kTolerance) &&
        !(std::isnan(a[j]) && std::isnan(b[j])))
      differs(request, fmt::format("value {} is {}, the file says {}", j, a[j], b[j]));
}

void run(const uint8_t* data, size_t size) {
  Bytes bytes(data, size);
  const bool distances = bytes.below(4) == 0;
  onnx::Model model =
      plain_model(distances ? onnx::GraphPositions::kRelativeKey : onnx::GraphPositions::kAbsolute);
  GraphEdit edit(model);
  change(edit, bytes, distances);
  for (auto& tensor : *edit.graph().mutable_initializer())
    if (const auto elements = model.outside_elements(tensor.name()); !elements.empty())
      tensor.set_raw_data(elements.data(), elements.size());
  const std::string text = edit.model().SerializeAsString();
  const int fd = ::memfd_create("model", MFD_CLOEXEC);
  if (fd < 0 || ::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) return;
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  engine::SessionOptions options;
  options.threads = 1;
  const engine::Session session(path, options);
  options.general_mask = true;
  const engine::Session plain(path, options);
  for (unsigned i = 0; i < 4; ++i) compare(session, plain, request_of(bytes));
  ::close(fd);
}

}  // namespace
}  // namespace qdqbert

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  qdqbert::run(data, size);
  return 0;
}
