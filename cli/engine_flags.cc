#include "cli/engine_flags.h"

#include <algorithm>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"

namespace qdqbert::cli {

void EngineFlags::add_to(ArgumentParser& parser, bool with_precision, bool with_streams) {
  parser.group("engine");
  parser.add("threads", threads,
             with_streams ? "threads of each stream; 0: all processors divided by the streams"
                          : "threads; 0: all processors");
  if (with_streams) parser.add("streams", streams, "requests that run side by side");
  parser.add("isa", isa,
             "kernels for ref, avx2, avxvnni, avx512vnni or amxint8 (default: "
             "the best of this machine, or QDQBERT_ISA)");
  if (with_precision)
    parser.add_choice("precision", precision, {"auto", "fp32", "bf16"},
                      "auto: integer kernels wherever the file has Q/DQ pairs; fp32, bf16: "
                      "everything in float, Q/DQ included");
  parser.add_switch("pin", pin, "keep each thread on one processor");
}

engine::SessionOptions EngineFlags::options() const {
  engine::SessionOptions options;
  constexpr int64_t kMost = 4096;
  if (threads < 0 || threads > kMost)
    fail<UsageError>("[engine] --threads is {}, 0 to {} are possible", threads, kMost);
  if (streams < 1 || streams > kMost)
    fail<UsageError>("[engine] --streams is {}, 1 to {} are possible", streams, kMost);
  options.threads = static_cast<int>(threads);
  options.streams = static_cast<int>(streams);
  options.pin = pin;
  if (precision == "fp32") options.precision = engine::Precision::kFloat32;
  if (precision == "bf16") options.precision = engine::Precision::kBFloat16;
  if (isa) {
    options.isa = isa_named(*isa);
    if (!options.isa)
      fail<UsageError>("[engine] --isa {} is unknown; use ref, avx2, avxvnni, avx512vnni or amxint8", *isa);
    if (!supports(*options.isa)) fail<UsageError>("[engine] --isa {} is not supported by this machine", *isa);
  }
  return options;
}

int64_t bounded_length(int64_t wanted, const text::Tokenizer& tokenizer, const engine::Session& session,
                       bool asked) {
  const auto bound = [&](int64_t limit, const char* whose) {
    if (wanted <= limit) return;
    if (asked)
      log_warning("--max_seq_length {} is more than the {}'s maximum of {}, which is used instead", wanted,
                  whose, limit);
    wanted = limit;
  };
  bound(tokenizer.options().model_max_length, "tokenizer");
  constexpr size_t kMost = 1'000'000'000;
  bound(static_cast<int64_t>(std::min(session.longest_text(), kMost)), "model");
  return wanted;
}

std::string machine_text(const engine::Session& session) {
  return fmt::format("{}, {} thread{}", name_of(session.isa()), session.threads(),
                     session.threads() == 1 ? "" : "s");
}

}  // namespace qdqbert::cli
