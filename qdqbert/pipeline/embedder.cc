#include "qdqbert/pipeline/embedder.h"

#include <algorithm>

namespace qdqbert::pipeline {

namespace {

/// The output that holds embeddings, and whether it has a row for each token; else it has one for each text.
struct EmbeddingOutput {
  std::string name;
  bool by_token;
};

EmbeddingOutput embedding_output(const Pipeline& pipeline) {
  const std::vector<std::string>& names = pipeline.session().output_names();
  const auto has = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (has("sentence_embedding")) return {"sentence_embedding", false};
  if (!has("last_hidden_state") && has("token_embeddings")) return {"token_embeddings", true};
  return {"last_hidden_state", true};
}

}  // namespace

Embedder::Embedder(Pipeline pipeline, const EmbedderOptions& options)
    : TextTask(pipeline, TaskKind::kEmbed, embedding_output(pipeline).name,
               embedding_output(pipeline).by_token, kAnyTokens),
      sentence_(options.sentence.value_or(pipeline.facts().sentence.value_or(tasks::SentenceModel{}))),
      prompt_(sentence_.prompt(options.prompt_name)) {
  if (!prompt_.empty()) prompt_tokens_ = pipeline.tokenizer().tokenize(prompt_).size() + 1;
  if (embedding_output(pipeline).by_token) {
    sentence_.width(model().columns());
    return;
  }
  // The graph has done it all, but for what is asked for beyond: a pooling of one row leaves it as it is.
  sentence_.pooling = {tasks::Pooling::kCls};
  sentence_.include_prompt = true;
  sentence_.steps.clear();
  if (options.normalize_pooled.value_or(!pipeline.facts().sentence))
    sentence_.steps.emplace_back(tasks::Normalize{});
}

PreparedText Embedder::prepare(const TextRequest& request) const {
  return encode_text(pipeline(), {prompt_ + request.text, request.pair}, EmptyText::kAllowed);
}

Embedding Embedder::answer_from(const PreparedText& prepared, std::span<const TextOutput> outputs) const {
  const TextOutput& states = outputs[0];
  return {tasks::embed_sentence(sentence_, states.values, states.columns, prompt_tokens_),
          prepared.truncated};
}

}  // namespace qdqbert::pipeline
