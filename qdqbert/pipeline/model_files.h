// Which files belong to a model.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "qdqbert/engine/session.h"
#include "qdqbert/text/tokenizer.h"

namespace qdqbert::pipeline {

/// The ONNX file that `model` stands for: the file itself, or model.onnx of a directory or of a model in the
/// Hugging Face cache. Throws InputError that says where it was looked for.
std::filesystem::path find_onnx_file(const std::string& model);

/// The tokenizer in `tokenizer` if given, else beside the ONNX file. Throws InputError when there is none,
/// with `remedy` (how the caller's user names one), and when it has more tokens than the model embeddings.
text::Tokenizer find_tokenizer(const std::filesystem::path& onnx_file, const std::string& tokenizer,
                               const engine::Session& session, std::string_view remedy);

}  // namespace qdqbert::pipeline
