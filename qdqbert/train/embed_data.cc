#include "qdqbert/train/embed_data.h"

#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

namespace qdqbert::train {

EmbedData::EmbedData(tasks::TextRows texts, const TaskContext& context) : ids_(std::move(texts.ids)) {
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
    std::vector<double> mean(static_cast<size_t>(columns), 0.0);
    const float* row = states.data_ptr<float>() + (static_cast<int64_t>(r) * width + first) * columns;
    for (int64_t t = 0; t < length; ++t)
      for (int64_t j = 0; j < columns; ++j) mean[static_cast<size_t>(j)] += double{row[t * columns + j]};
    double square = 0;
    for (const double value : mean) square += value * value;
    const double scale = square > 0 ? 1.0 / std::sqrt(square) : 0.0;
    std::vector<float>& embedding = embeddings_[static_cast<size_t>(sample)];
    embedding.clear();
    if (!std::isfinite(square))
      fail("[embed] the embedding of row {} holds values that are no finite numbers",
           dump_json(ids_[static_cast<size_t>(sample)]));
    for (const double value : mean) embedding.push_back(static_cast<float>(value * scale));
  }
}

void EmbedData::write_predictions(const std::filesystem::path& directory, const std::string& prefix) const {
  AtomicFile file(directory / (prefix + "_embeddings.jsonl"));
  for (size_t i = 0; i < embeddings_.size(); ++i)
    file.write(dump_json({{"id", ids_[i]}, {"embedding", embeddings_[i]}}, {-1, false, false, true}));
  file.commit();
}

}  // namespace qdqbert::train
