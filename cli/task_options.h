// Flags that every task of qdqbert-train has: the model, what to do with it, quantization, export.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "qdqbert/train/quant_trainer.h"

#include "cli/arguments.h"

namespace qdqbert::cli {

struct TaskModelOptions {
  std::string model_name_or_path;
  std::optional<std::string> config_name, tokenizer_name, cache_dir;
  std::string model_revision = "main";
  std::optional<std::string> random_init;  ///< bert-base, bert-large, minilm-l6 or a config.json
  bool ignore_mismatched_sizes = false;
  bool allow_random_encoder = false;
};

struct TaskFileOptions {
  std::optional<std::string> train_file, validation_file, test_file, calib_file;
  bool overwrite_cache = false;
  std::optional<int64_t> preprocessing_num_workers;
  int64_t max_seq_length = 0;  ///< 0: the most that the model has positions for
  bool pad_to_max_length = false;
  std::optional<int64_t> max_train_samples, max_eval_samples, max_predict_samples;
};

struct TaskRunOptions {
  std::string output_dir;
  bool overwrite_output_dir = false;
  bool do_train = false, do_calib = false, do_eval = false, do_predict = false;
  int64_t per_device_eval_batch_size = 8;
  int64_t seed = 42;
  bool fp16 = false, bf16 = false, fp64 = false;
  std::string device = "auto";
  bool disable_dropout = false;
  bool calib_shuffle = true, calib_no_shuffle = false;
  int64_t num_calib_samples = 128;
  int64_t threads = 0;
  std::string save_dtype = "f32";
  std::optional<std::string> json;
  std::string log_level = "info";
};

struct TaskExportOptions {
  bool save_onnx = false;
  std::optional<std::string> onnx_file;
  std::optional<int64_t> opset;  ///< finish_options: 19 with --fp16, else 13
  bool half_by_fp16 = false;     ///< --fp16 alone asked for half precision
  bool int8_weights = false, trt_attention = false;
  bool hidden_states = false, pooler_output = false;
  std::string cache = "none";  ///< of decoders: none, present, past
};

struct TaskOptions {
  TaskModelOptions model;
  TaskFileOptions data;
  TaskRunOptions run;
  TaskExportOptions onnx;
  train::QuantOptions quant;
  std::string calibrator = "max";
  std::string command_line;  ///< as given, for quantization.json
};

// Each adds its flags under headings of --help. `what` names a sample: "questions", "texts".
void add_model_flags(ArgumentParser& parser, TaskModelOptions& options);
void add_file_flags(ArgumentParser& parser, TaskFileOptions& options, const std::string& what);
void add_run_flags(ArgumentParser& parser, TaskRunOptions& options, TaskFileOptions& files,
                   const std::string& what);
void add_quant_flags(ArgumentParser& parser, TaskOptions& options);
void add_export_flags(ArgumentParser& parser, TaskExportOptions& options);

/// Settles what parse() has read: the calibration method, --calib_no_shuffle, the command line.
/// Throws UsageError for values that are impossible or contradict each other.
/// `other_work`: the verb has something else to do.
void finish_options(TaskOptions& options, const std::string& verb, const Arguments& arguments,
                    bool other_work);

}  // namespace qdqbert::cli
