// sentence-transformers' files beside a model: what turns states of tokens into a vector.
#pragma once

#include <filesystem>
#include <optional>

#include "qdqbert/tasks/sentence_embedding.h"
#include "qdqbert/text/tokenizer.h"

namespace qdqbert::tasks {

/// Where the encoder of such a folder lies: the folder, or the one that its first module names (old releases have
/// 0_Transformer). Any other directory is returned as it is.
std::filesystem::path encoder_directory(const std::filesystem::path& directory);

/// modules.json with the configurations and weights of its modules, sentence_bert_config.json and
/// config_sentence_transformers.json; nothing where there is no modules.json. Throws InputError for a module, a
/// pooling mode, an activation or a setting that is not known, by its name.
std::optional<SentenceModel> read_sentence_folder(const std::filesystem::path& directory);

/// What belongs to the ONNX file of an export: in its directory, or in the one above it.
std::optional<SentenceModel> sentence_folder_of(const std::filesystem::path& onnx_file);

/// The tokenizer with texts lowercased before it: accents stay where it keeps them.
text::Tokenizer lowercased(const text::Tokenizer& tokenizer);

/// The same files again, for an encoder in `directory` of states of `columns`, so that sentence-transformers loads
/// it.
void write_sentence_folder(const std::filesystem::path& directory, const SentenceModel& model,
                           size_t columns);

}  // namespace qdqbert::tasks
