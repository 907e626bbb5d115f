// Models from and to checkpoint directories.
#pragma once

#include <filesystem>

#include "qdqbert/io/checkpoint.h"
#include "qdqbert/io/name_map.h"
#include "qdqbert/model/heads.h"

namespace qdqbert::model {

struct LoadOptions {
  /// Tensors of another shape are treated as missing instead of being an error.
  bool ignore_mismatched_sizes = false;
  /// For the parameters that the checkpoint lacks.
  uint64_t seed = 42;
};

/// Copies the checkpoint's tensors into `model`, half precision widened, ranges (`_amax`) included on the
/// model's device and in the shapes that quantizers give them; initialises what is missing, ties, and puts the model into evaluation mode. Throws
/// InputError as io::plan_load does (the model is then unchanged), and for weights and ranges that are no finite
/// numbers, by name.
io::LoadReport load_weights(PreTrainedModel& model, const io::Checkpoint& checkpoint,
                            const LoadOptions& options = {});

/// The model's names as the loader sees them.
io::ModelNames model_names(const PreTrainedModel& model);

struct LoadedModel {
  std::shared_ptr<PreTrainedModel> model;
  io::LoadReport report;
};

/// config.json and weights of `directory` as a model of that class.
/// `configure` may change the configuration first.
LoadedModel load_model(std::string_view class_name, const std::filesystem::path& directory,
                       const nn::QuantDefaults& defaults = {}, const LoadOptions& options = {},
                       const std::function<void(io::BertConfig&)>& configure = {});

/// The class that `architectures` names: one of head_specs() or plain BERT's name of it; BertForPreTraining's
/// checkpoints are masked language models, and a configuration that names none is the base model's. Throws
/// InputError naming `where` and the names when none of them is known.
std::string_view class_for(const io::BertConfig& config, std::string_view where);

/// load_model() of the class that config.json names.
LoadedModel load_auto_model(const std::filesystem::path& directory, const nn::QuantDefaults& defaults = {},
                            const LoadOptions& options = {});

/// Writes config.json (architectures: this class) and model.safetensors with weights and ranges;
/// tied tensors once, under their first name; language models also get generation_config.json.
/// Errors as io::save_checkpoint.
void save_model(const PreTrainedModel& model, const std::filesystem::path& directory,
                const io::SaveOptions& options = {});

}  // namespace qdqbert::model
