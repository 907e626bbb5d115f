#include "qdqbert/pipeline/model_files.h"

#include "qdqbert/base/error.h"
#include "qdqbert/io/hub_cache.h"

namespace qdqbert::pipeline {

namespace fs = std::filesystem;

fs::path find_onnx_file(const std::string& model) {
  const fs::path path = io::resolve_model(model);
  if (!fs::is_directory(path)) return path;
  for (const char* name : {"model.onnx", "onnx/model.onnx"})
    if (fs::is_regular_file(path / name)) return path / name;
  fail("[model] {} holds no model.onnx; `qdqbert qa --save_onnx` writes one", path.string());
}

text::Tokenizer find_tokenizer(const fs::path& onnx_file, const std::string& tokenizer,
                               const engine::Session& session, std::string_view remedy) {
  fs::path place = tokenizer.empty() ? fs::path() : io::resolve_model(tokenizer);
  if (tokenizer.empty()) {
    place = onnx_file.parent_path().empty() ? fs::path(".") : onnx_file.parent_path();
    const auto has_tokenizer = [](const fs::path& directory) {
      return fs::exists(directory / "tokenizer.json") || fs::exists(directory / "vocab.txt");
    };
    // Exports of others keep the ONNX file in a folder of its own below the tokenizer.
    if (!has_tokenizer(place) && has_tokenizer(place / "..")) place /= "..";
    if (!has_tokenizer(place))
      fail("[tokenizer] there is no tokenizer.json or vocab.txt beside {}; {}", onnx_file.string(), remedy);
  }
  text::Tokenizer found = text::Tokenizer::from_path(place);
  // 0: the file keeps its embeddings in a form of which the session does not know the rows.
  if (session.vocabulary_size() > 0 && found.vocabulary().size() > session.vocabulary_size())
    fail("[tokenizer] {} has {} tokens, {} has embeddings for {}", place.string(), found.vocabulary().size(),
         onnx_file.string(), session.vocabulary_size());
  return found;
}

}  // namespace qdqbert::pipeline
