// What the verbs of the engine have in common: flags of a session, and what they say of models.
#pragma once

#include <optional>
#include <string>

#include "qdqbert/engine/session.h"
#include "qdqbert/text/tokenizer.h"

#include "cli/arguments.h"

namespace qdqbert::cli {

struct EngineFlags {
  int64_t threads = 0, streams = 1;
  std::string precision = "auto";
  std::optional<std::string> isa;
  bool pin = false;

  /// Adds --threads, --isa, --pin, and --precision and --streams where the verb has them.
  void add_to(ArgumentParser& parser, bool with_precision, bool with_streams);
  /// Throws UsageError for counts below 1 and instruction sets that are unknown or not of this machine.
  engine::SessionOptions options() const;
};

/// How a user of the command names a tokenizer, for pipeline::find_tokenizer().
inline constexpr const char* kTokenizerRemedy = "say where: --tokenizer DIR";

/// `wanted` tokens, or less where tokenizer or model end before; says so when the user `asked` for that many.
int64_t bounded_length(int64_t wanted, const text::Tokenizer& tokenizer, const engine::Session& session,
                       bool asked);

/// "avx512vnni, 2 threads"
std::string machine_text(const engine::Session& session);

}  // namespace qdqbert::cli
