#include "qdqbert/train/distillation.h"

#include <cmath>

#include "qdqbert/base/error.h"

namespace qdqbert::train {

namespace {

constexpr int64_t kIgnored = -100;

/// Rows [R, N] of both models; `counted` [R] says which take part, undefined: all.
at::Tensor divergence(const at::Tensor& student, const at::Tensor& teacher, double temperature,
                      const at::Tensor& counted) {
  const at::Tensor log_student = at::log_softmax(student.to(at::kFloat) / temperature, -1);
  const at::Tensor log_teacher = at::log_softmax(teacher.to(at::kFloat) / temperature, -1);
  const at::Tensor rows = (log_teacher.exp() * (log_teacher - log_student)).sum(-1);
  const double scale = temperature * temperature;
  if (!counted.defined()) return rows.mean() * scale;
  const at::Tensor weights = counted.to(at::kFloat);
  return (rows * weights).sum() / weights.sum().clamp_min(1) * scale;
}

/// Mean of squared differences over elements whose row is counted; `weights` broadcasts over both.
at::Tensor squared_difference(const at::Tensor& student, const at::Tensor& teacher,
                              const at::Tensor& weights) {
  const at::Tensor squares = (student.to(at::kFloat) - teacher.to(at::kFloat)).square();
  if (!weights.defined()) return squares.mean();
  const at::Tensor all = weights.expand_as(squares);
  return (squares * all).sum() / all.sum().clamp_min(1);
}

/// 1 for real tokens: float [B', S] with B' rows of tokens, undefined when nothing is masked.
at::Tensor token_weights(const model::ModelInputs& inputs) {
  const at::Tensor& mask = inputs.attention_mask;
  if (!mask.defined() || (mask.dim() == 3 && !inputs.input_ids.defined())) return {};
  if (mask.dim() == 3 && inputs.input_ids.dim() != 3) return {};
  return mask.reshape({-1, mask.size(-1)}).to(at::kFloat);
}

}  // namespace

void DistillationOptions::validate() const {
  if (!(temperature > 0 && std::isfinite(temperature)))
    fail<UsageError>("[teacher_temperature] {} is not positive", temperature);
  if (!(alpha >= 0 && alpha <= 1)) fail<UsageError>("[distill_alpha] {} is not between 0 and 1", alpha);
  if (!(hidden_weight >= 0)) fail<UsageError>("[distill_hidden] {} is negative", hidden_weight);
  if (!(attention_weight >= 0)) fail<UsageError>("[distill_attention] {} is negative", attention_weight);
  if (!layers.empty() && hidden_weight == 0 && attention_weight == 0)
    fail<UsageError>("[distill_layers] has no effect without --distill_hidden or --distill_attention");
}

Json DistillationOptions::to_json() const {
  Json pairs = Json::array();
  for (const auto& [student, teacher] : layers) pairs.push_back({student, teacher});
  return {{"temperature", temperature},
          {"alpha", alpha},
          {"hidden_weight", hidden_weight},
          {"attention_weight", attention_weight},
          {"layers", pairs}};
}

Distillation::Distillation(model::PreTrainedModel& student, std::shared_ptr<model::PreTrainedModel> teacher,
                           DistillationOptions options, bool gradient_checkpointing)
    : student_(student),
      teacher_(std::move(teacher)),
      options_(std::move(options)),
      gradient_checkpointing_(gradient_checkpointing) {
  options_.validate();
  const io::BertConfig &s = student_.config(), &t = teacher_->config();
  if (student_.class_name() != teacher_->class_name())
    fail<UsageError>("[teacher] is a {}, the model a {}", teacher_->class_name(), student_.class_name());
  if (s.vocab_size != t.vocab_size)
    fail<UsageError>("[teacher] has another vocabulary: {} tokens, the model has {}", t.vocab_size,
                     s.vocab_size);
  if (s.num_labels() != t.num_labels())
    fail<UsageError>("[teacher] has {} labels, the model {}", t.num_labels(), s.num_labels());
  if (options_.hidden_weight > 0 && s.hidden_size != t.hidden_size)
    fail<UsageError>("[distill_hidden] the teacher's hidden states have {} numbers, the model's {}",
                     t.hidden_size, s.hidden_size);
  if (options_.attention_weight > 0 && s.num_attention_heads != t.num_attention_heads)
    fail<UsageError>("[distill_attention] the teacher has {} heads, the model {}", t.num_attention_heads,
                     s.num_attention_heads);
  if (options_.hidden_weight > 0 || options_.attention_weight > 0) {
    if (options_.layers.empty()) {
      if (t.num_hidden_layers < s.num_hidden_layers)
        fail<UsageError>(
            "[teacher] has {} layers, the model {}: say with --distill_layers who learns from whom",
            t.num_hidden_layers, s.num_hidden_layers);
      for (int64_t l = 0; l < s.num_hidden_layers; ++l)
        options_.layers.emplace_back(l, (l + 1) * t.num_hidden_layers / s.num_hidden_layers - 1);
    }
    for (const auto& [mine, its] : options_.layers)
      if (mine >= s.num_hidden_layers || its >= t.num_hidden_layers)
        fail<UsageError>("[distill_layers] {}:{} does not exist: the model has {} layers, the teacher {}",
                         mine, its, s.num_hidden_layers, t.num_hidden_layers);
  }
  for (const model::NamedQuantizer& item : teacher_->named_quantizers()) item.quantizer->disable();
  teacher_->eval();
  for (at::Tensor parameter : teacher_->parameters()) parameter.requires_grad_(false);
}

at::Tensor Distillation::loss(const model::ModelInputs& inputs) {
  model::ForwardOptions forward;
  forward.use_cache = false;
  forward.output_hidden_states = options_.hidden_weight > 0;
  forward.output_attentions = options_.attention_weight > 0;
  model::ModelOutputs theirs;
  {
    const at::NoGradGuard no_grad;
    model::ModelInputs unlabelled = inputs;
    unlabelled.labels = unlabelled.start_positions = unlabelled.end_positions =
        unlabelled.next_sentence_label = at::Tensor();
    theirs = teacher_->forward(unlabelled, forward);
  }
  forward.gradient_checkpointing = gradient_checkpointing_;
  const model::ModelOutputs mine = student_.forward(inputs, forward);
  const at::Tensor tokens = token_weights(inputs);

  at::Tensor loss = mine.loss;
  if (options_.alpha > 0) {
    at::Tensor soft;
    if (mine.start_logits.defined()) {
      // Padding gets no share of either distribution.
      const auto real = [&](const at::Tensor& logits) {
        return tokens.defined() ? logits.masked_fill(tokens.eq(0), -1e9) : logits;
      };
      soft = (divergence(real(mine.start_logits), real(theirs.start_logits), options_.temperature, {}) +
              divergence(real(mine.end_logits), real(theirs.end_logits), options_.temperature, {})) /
             2;
    } else if (mine.logits.size(-1) == 1) {
      soft = squared_difference(mine.logits, theirs.logits, {});
    } else {
      const int64_t classes = mine.logits.size(-1);
      at::Tensor counted;
      if (mine.logits.dim() == 3) {
        counted = tokens;
        if (inputs.labels.defined() && inputs.labels.sizes() == mine.logits.sizes().slice(0, 2))
          counted = inputs.labels.ne(kIgnored);
        if (counted.defined()) counted = counted.reshape({-1});
      }
      soft = divergence(mine.logits.reshape({-1, classes}), theirs.logits.reshape({-1, classes}),
                        options_.temperature, counted);
    }
    loss = (1 - options_.alpha) * loss + options_.alpha * soft;
  }
  for (const auto& [own, its] : options_.layers) {
    const auto s = static_cast<size_t>(own), t = static_cast<size_t>(its);
    const auto share = static_cast<double>(options_.layers.size());
    if (options_.hidden_weight > 0)
      loss = loss + options_.hidden_weight / share *
                        squared_difference(mine.hidden_states[s + 1], theirs.hidden_states[t + 1],
                                           tokens.defined() ? tokens.unsqueeze(-1) : tokens);
    if (options_.attention_weight > 0)
      loss = loss + options_.attention_weight / share *
                        squared_difference(mine.attentions[s], theirs.attentions[t],
                                           tokens.defined() ? tokens.unsqueeze(1).unsqueeze(-1) : tokens);
  }
  return loss;
}

}  // namespace qdqbert::train
