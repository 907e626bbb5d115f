#include "qdqbert/train/embed_data.h"

#include <algorithm>
#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

namespace qdqbert::train {

EmbedData::EmbedData(tasks::TextRows texts, tasks::SentenceModel model, const std::string& prompt,
                     const TaskContext& context)
    : model_(std::move(model)),
      prompt_tokens_(prompt.empty() ? 0 : context.tokenizer.tokenize(prompt).size() + 1),
      ids_(std::move(texts.ids)) {
  if (texts.texts.empty()) fail("[embed] there is no text");
  set_rows(tasks::encode_rows(context.tokenizer, texts.texts, {}, static_cast<int>(context.max_length),
                              context.threads),
           context);
}

model::ModelInputs EmbedData::batch(std::span<const int64_t>, int64_t) {
  fail("[embed] an encoder without a head has no loss to train with");
}

void EmbedData::begin_evaluation(bool) {
  embeddings_.assign(static_cast<size_t>(size()), {});
}

void EmbedData::collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) {
  const at::Tensor states = outputs.last_hidden_state.to(at::kFloat).contiguous();
  const int64_t width = states.size(1), columns = states.size(2);
  for (size_t r = 0; r < samples.size(); ++r) {
    const int64_t sample = samples[r], length = this->length(sample);
    const auto first =
        static_cast<int64_t>(rows().first_column(static_cast<size_t>(sample), static_cast<size_t>(width)));
    const std::span<const float> row(
        states.data_ptr<float>() + (static_cast<int64_t>(r) * width + first) * columns,
        static_cast<size_t>(length * columns));
    std::vector<float> embedding =
        tasks::embed_sentence(model_, row, static_cast<size_t>(columns), prompt_tokens_);
    if (!std::all_of(embedding.begin(), embedding.end(), [](float v) { return std::isfinite(v); }))
      fail("[embed] the embedding of row {} holds values that are no finite numbers",
           dump_json(ids_[static_cast<size_t>(sample)]));
    embeddings_[static_cast<size_t>(sample)] = std::move(embedding);
  }
}

void EmbedData::write_predictions(const std::filesystem::path& directory, const std::string& prefix) const {
  AtomicFile file(directory / (prefix + "_embeddings.jsonl"));
  for (size_t i = 0; i < embeddings_.size(); ++i)
    file.write(dump_json({{"id", ids_[i]}, {"embedding", embeddings_[i]}}, {-1, false, false, true}));
  file.commit();
}

}  // namespace qdqbert::train
