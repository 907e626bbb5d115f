// rooms: engine onnx base
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/session.h"

#include "tests/fuzz/onnx_mutator.h"

namespace {

using namespace qdqbert::engine;

template <class Request>
void attempt(const Request& request) {
  try {
    request();
  } catch (const qdqbert::Error&) {
  }
}

/// A batch of two texts, one padded, with ids that most graphs know; then one with an id that few know; then
/// a text in two pieces. With what the graph reads beside texts.
void answer(const Session& session) {
  const std::vector<int64_t> ids = {1, 2, 3, 4, 0, 1}, mask = {1, 1, 1, 1, 1, 0}, types = {0, 0, 1, 0, 1, 0};
  const size_t width = session.encoder_width() > 0 ? session.encoder_width() : 16;
  const std::vector<float> states(width < 4096 ? 2 * 4 * width : 0, 0.5f);
  const std::vector<int64_t> states_mask = {1, 1, 1, 1, 1, 1, 1, 0};
  PaddedBatch<int64_t> batch{2, 3, ids, mask, types};
  if (session.by_choices()) batch.choices = 2;
  attempt([&] { session.run(batch); });
  batch.encoder_hidden_states = states;
  batch.encoder_attention_mask = states_mask;
  batch.encoder_length = 4;
  attempt([&] { session.run(batch); });

  const std::vector<int32_t> odd_ids = {7, 1 << 30};
  const std::vector<uint32_t> offsets = {0, 1, 2};
  attempt([&] { session.run(PackedTexts{odd_ids, {}, offsets}); });

  const std::vector<int32_t> piece = {1, 2};
  const std::vector<uint32_t> whole = {0, 2}, wanted = {1}, states_offsets = {0, 4};
  PackedTexts text{piece, {}, whole};
  text.wanted = wanted;
  if (session.encoder_width() > 0) {
    text.encoder_hidden_states = std::span(states).first(states.size() / 2);
    text.encoder_offsets = states_offsets;
  }
  TextCache cache;
  TextCache* const caches[] = {&cache};
  for (int i = 0; i < 2; ++i) attempt([&] { session.run(text, caches); });
}

}  // namespace

// Whatever the bytes are, a session over them answers or throws one of our
// exceptions, at load or at a request.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int fd = ::memfd_create("model", MFD_CLOEXEC);
  if (fd < 0 || ::write(fd, data, size) != static_cast<ssize_t>(size)) return 0;
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  for (const bool general_mask : {false, true}) {
    SessionOptions options;
    options.threads = 1;
    options.general_mask = general_mask;
    try {
      const Session session(path, options);
      answer(session);
    } catch (const qdqbert::Error&) {
    }
  }
  ::close(fd);
  return 0;
}
