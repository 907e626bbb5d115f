// What the verbs of the engine have in common: flags of a session, and where a model's files lie.
#pragma once

#include <filesystem>
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

/// The ONNX file that MODEL stands for: the file itself, or model.onnx of a directory or of a model in the
/// Hugging Face cache. Throws InputError that says where it was looked for.
std::filesystem::path find_onnx_file(const std::string& model);

/// The tokenizer in `tokenizer` if given, else beside the ONNX file. Throws InputError, naming the flag, when
/// there is none, and when it has more tokens than the model has embeddings.
text::Tokenizer find_tokenizer(const std::filesystem::path& onnx_file, const std::string& tokenizer,
                               const engine::Session& session);

/// `wanted` tokens, or less where tokenizer or model end before; says so when the user `asked` for that many.
int64_t bounded_length(int64_t wanted, const text::Tokenizer& tokenizer, const engine::Session& session,
                       bool asked);

/// "avx512vnni, 2 threads"
std::string machine_text(const engine::Session& session);

}  // namespace qdqbert::cli
