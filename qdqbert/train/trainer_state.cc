#include "qdqbert/train/trainer_state.h"

#include "qdqbert/base/error.h"

namespace qdqbert::train {

Json TrainerState::to_json(const TrainerOptions& options, const RunPlan& plan) const {
  return {
      {"best_metric", best_metric ? Json(*best_metric) : Json()},
      {"best_model_checkpoint", best_checkpoint ? Json(*best_checkpoint) : Json()},
      {"epoch", epoch},
      {"eval_steps", options.eval_steps},
      {"global_step", global_step},
      {"is_hyper_param_search", false},
      {"is_local_process_zero", true},
      {"is_world_process_zero", true},
      {"log_history", log_history},
      {"logging_steps", options.logging_steps},
      {"max_steps", plan.max_steps},
      {"num_input_tokens_seen", tokens},
      {"num_train_epochs", plan.epochs},
      {"save_steps", options.save_steps},
      {"total_flos", flops},
      {"train_batch_size", options.batch_size},
      {"trial_name", nullptr},
      {"trial_params", nullptr},
  };
}

Json TrainerState::resume_json() const {
  return {
      {"format", 1},
      {"global_step", global_step},
      {"micro_step", micro_step},
      {"finished_epochs", finished_epochs},
      {"loss_sum", loss_sum},
      {"logged_loss_sum", logged_loss_sum},
      {"logged_step", logged_step},
      {"poor_evaluations", poor_evaluations},
      {"evaluation_due", evaluation_due},
  };
}

TrainerState TrainerState::from_json(const Json& state, const Json& resume, const std::string& name) {
  try {
    TrainerState s;
    resume.at("global_step").get_to(s.global_step);
    resume.at("micro_step").get_to(s.micro_step);
    resume.at("finished_epochs").get_to(s.finished_epochs);
    resume.at("loss_sum").get_to(s.loss_sum);
    resume.at("logged_loss_sum").get_to(s.logged_loss_sum);
    resume.at("logged_step").get_to(s.logged_step);
    resume.at("poor_evaluations").get_to(s.poor_evaluations);
    resume.at("evaluation_due").get_to(s.evaluation_due);
    state.at("epoch").get_to(s.epoch);
    state.at("num_input_tokens_seen").get_to(s.tokens);
    state.at("total_flos").get_to(s.flops);
    s.log_history = state.at("log_history");
    if (!state.at("best_metric").is_null()) s.best_metric = state.at("best_metric").get<double>();
    if (!state.at("best_model_checkpoint").is_null())
      s.best_checkpoint = state.at("best_model_checkpoint").get<std::string>();
    if (s.global_step < 0 || s.micro_step < s.global_step || !s.log_history.is_array())
      fail("[resume] {}: {} steps with {} batches cannot be", name, s.global_step, s.micro_step);
    return s;
  } catch (const Json::exception& error) {
    fail("[resume] {} is damaged: {}", name, error.what());
  }
}

}  // namespace qdqbert::train
