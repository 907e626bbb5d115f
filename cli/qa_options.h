// Every flag of the SQuAD example and of this command's own additions, in one struct per group.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "qdqbert/train/quant_trainer.h"

#include "cli/arguments.h"
#include "cli/training_options.h"

namespace qdqbert::cli {

struct QaModelOptions {
  std::string model_name_or_path;
  std::optional<std::string> config_name, tokenizer_name, cache_dir;
  std::string model_revision = "main";
  std::optional<std::string> random_init;  ///< bert-base, bert-large, minilm-l6 or a config.json
};

struct QaDataOptions {
  std::optional<std::string> dataset_name, dataset_config_name, data_dir;
  std::optional<std::string> train_file, validation_file, test_file, calib_file;
  bool overwrite_cache = false;
  std::optional<int64_t> preprocessing_num_workers;
  int64_t max_seq_length = 384;
  bool pad_to_max_length = true;
  std::optional<int64_t> max_train_samples, max_eval_samples, max_predict_samples;
  bool version_2_with_negative = false;
  double null_score_diff_threshold = 0;
  int64_t doc_stride = 128;
  int64_t n_best_size = 20;
  int64_t max_answer_length = 30;
};

struct QaRunOptions {
  std::string output_dir;
  bool overwrite_output_dir = false;
  bool do_train = false, do_calib = false, do_eval = false, do_predict = false;
  int64_t per_device_eval_batch_size = 8;
  int64_t seed = 42;
  bool fp16 = false, bf16 = false;
  bool disable_dropout = false;
  bool calib_shuffle = true, calib_no_shuffle = false;
  int64_t num_calib_samples = 128;
  int64_t threads = 0;
  std::string save_dtype = "f32";
  std::optional<std::string> json;
  bool fix_labels = false;
};

struct QaExportOptions {
  bool save_onnx = false;
  std::optional<std::string> onnx_file;
  int64_t opset = 13;
  bool int8_weights = false, trt_attention = false;
};

struct QaOptions {
  QaModelOptions model;
  QaDataOptions data;
  QaRunOptions run;
  QaExportOptions onnx;
  TrainingFlags training;
  train::TrainerOptions trainer;  ///< what the flags of training say; set with --do_train
  train::QuantOptions quant;
  std::string command_line;  ///< as given, for quantization.json
};

/// nullopt after --help. Throws UsageError for flags that are malformed, unknown or contradict each other.
std::optional<QaOptions> parse_qa(const Arguments& arguments);

}  // namespace qdqbert::cli
