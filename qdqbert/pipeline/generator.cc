#include "qdqbert/pipeline/generator.h"

#include "qdqbert/pipeline/continuation.h"
#include "qdqbert/pipeline/text_task.h"

namespace qdqbert::pipeline {

Generator::Generator(Pipeline pipeline, const GeneratorOptions& options)
    : Task((pipeline.require(TaskKind::kGenerate), std::move(pipeline))), options_(options) {
  const std::vector<std::string>& names = this->pipeline().session().output_names();
  output_ = find_output(this->pipeline().session(), this->pipeline().name(),
                        names.size() == 1 ? names[0] : "logits");
  options_.generation.validate();
  if (!options_.generation.end_token) options_.generation.end_token = this->pipeline().tokenizer().sep_id();
}

std::vector<int32_t> Generator::prepare(const std::string& text) const {
  check_text(text);
  // The [SEP] that ends a text is for the model to say.
  std::vector<int32_t> ids = pipeline().tokenizer().tokenize(text).ids;
  ids.insert(ids.begin(), pipeline().tokenizer().cls_id());
  // The last token that is generated is not read any more.
  const auto needed = static_cast<int64_t>(ids.size()) + options_.generation.max_new_tokens - 1;
  if (needed > static_cast<int64_t>(pipeline().max_length()))
    fail(
        "{} tokens and {} new ones do not fit the {} that there is room for; "
        "shorten the text or --max_new_tokens",
        ids.size(), options_.generation.max_new_tokens, pipeline().max_length());
  return ids;
}

std::vector<GeneratedText> Generator::answer_together(std::span<const std::vector<int32_t>* const> prepared,
                                                      const RunControl& control) const {
  std::vector<GeneratedText> answers;
  const auto most = static_cast<size_t>(options_.generation.max_new_tokens);
  for (const std::vector<int32_t>* prompt : prepared) {
    const tasks::NextTokenLogits next = next_token_logits(pipeline().session(), output_, options_.use_cache);
    size_t steps = 0;
    tasks::Generated made = std::move(tasks::generate(
        *prompt,
        [&](const tasks::GenerationStep& step) {
          control.check();
          const std::span<const float> logits = next(step);
          control.report("generating", answers.size() * most + ++steps, prepared.size() * most);
          return logits;
        },
        options_.generation)[0]);
    const bool ended = !made.tokens.empty() && made.tokens.back() == *options_.generation.end_token;
    std::string text = pipeline().tokenizer().decode(made.tokens, true, true);
    answers.push_back({std::move(text), std::move(made.tokens), made.score, ended});
  }
  return answers;
}

}  // namespace qdqbert::pipeline
