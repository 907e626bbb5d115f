#include "cli/task_options.h"

#include "qdqbert/base/error.h"
#include "qdqbert/train/device.h"

#include "cli/terminal.h"

namespace qdqbert::cli {

void add_model_flags(ArgumentParser& parser, TaskModelOptions& m) {
  constexpr const char* kOffline =
      "this command does not go online; put the model into the Hugging Face cache or name its directory";
  parser.group("model");
  parser.add("model_name_or_path", m.model_name_or_path,
             "directory of a BERT or QDQBERT checkpoint, or a name that is in the Hugging Face cache");
  parser.add("config_name", m.config_name, "other directory or name for config.json");
  parser.add("tokenizer_name", m.tokenizer_name, "other directory or name for the tokenizer");
  parser.add("cache_dir", m.cache_dir, "Hugging Face cache to look names up in");
  parser.add("model_revision", m.model_revision, "branch, tag or commit of a cached name");
  parser.add("random_init", m.random_init,
             "instead of a checkpoint: random weights and plausible ranges for bert-base, "
             "bert-large, minilm-l6 or a config.json");
  parser.add("ignore_mismatched_sizes", m.ignore_mismatched_sizes,
             "take a checkpoint whose head has other sizes, and begin with a new head");
  parser.add("allow_random_encoder", m.allow_random_encoder,
             "take a checkpoint that lacks tensors of the encoder, which then begin with random values");
  for (const char* name : {"use_auth_token", "token"}) parser.refuse(name, kOffline);
  for (const char* name : {"push_to_hub", "hub_model_id", "hub_token", "hub_strategy"})
    parser.refuse(
        name, "uploading is not done by this command; use huggingface-cli upload on the output directory");
}

void add_file_flags(ArgumentParser& parser, TaskFileOptions& d, const std::string& what) {
  parser.add("train_file", d.train_file, what + " to train on");
  parser.add("validation_file", d.validation_file, what + " for --do_eval");
  parser.add("test_file", d.test_file, what + " for --do_predict");
  parser.add("overwrite_cache", d.overwrite_cache, "accepted; features are always made anew");
  parser.add("preprocessing_num_workers", d.preprocessing_num_workers, "threads for tokenization");
  parser.add("max_seq_length", d.max_seq_length,
             d.max_seq_length > 0 ? "tokens of a feature"
                                  : "tokens of a feature (0: as many as the model has positions)");
  parser.add("pad_to_max_length", d.pad_to_max_length,
             "pad to max_seq_length; otherwise to the longest of a batch");
  parser.add("max_train_samples", d.max_train_samples, "use the first N training " + what);
  parser.add("max_eval_samples", d.max_eval_samples, "use the first N " + what + " of --do_eval");
  parser.add("max_predict_samples", d.max_predict_samples, "use the first N " + what + " of --do_predict");
}

void add_run_flags(ArgumentParser& parser, TaskRunOptions& r, TaskFileOptions& d, const std::string& what) {
  parser.group("what to do");
  parser.add("output_dir", r.output_dir, "directory for everything that is written");
  parser.add("overwrite_output_dir", r.overwrite_output_dir,
             "write into a directory that holds a trained model");
  parser.add("do_train", r.do_train, "fine-tune");
  parser.add("do_calib", r.do_calib, "find the ranges of all quantizers and save the model with them");
  parser.add("do_eval", r.do_eval, "score the model on the validation " + what);
  parser.add("do_predict", r.do_predict, "write predictions for the test " + what);
  parser.add("per_device_eval_batch_size", r.per_device_eval_batch_size,
             "features of a batch in calibration and evaluation");
  parser.add("seed", r.seed, "seed of shuffling and of weights that a checkpoint lacks");
  parser.add("device", r.device,
             "auto: a GPU when there is one, else the CPU; cpu; cuda or cuda:N. "
             "With several processes cuda gives each its own");
  parser.add("fp16", r.fp16,
             "products of training, evaluation and prediction in FP16 on a GPU, "
             "with a scaled loss; in BF16 on a CPU");
  parser.add("bf16", r.bf16, "the same in BF16 everywhere");
  parser.add_switch(
      "fp64", r.fp64,
      "evaluate and predict in 64 bits, slowly: what differs from FP32 then is FP32's rounding");
  parser.add("threads", r.threads, "threads (0: all)");
  parser.add("json", r.json, "write scores and seconds of each phase to this file");
  parser.add_choice("log_level", r.log_level, {std::begin(kLogLevels), std::end(kLogLevels)},
                    "the least of what is told on standard error; warning leaves out the quantizers "
                    "that flags switch on or off");
  parser.group("calibration");
  parser.add("calib_file", d.calib_file, what + " to calibrate on (default: the training set)");
  parser.add("calib_shuffle", r.calib_shuffle,
             "draw the calibration features at random (seeded); otherwise in file order");
  parser.add("calib_no_shuffle", r.calib_no_shuffle, "calibrate in file order");
  parser.add("num_calib_samples", r.num_calib_samples, "features to calibrate on");
  parser.refuse("num_calib_batch", "the original never read this flag; use --num_calib_samples");
  parser.add("save_dtype", r.save_dtype, "type of the saved weights: f32, f16 or bf16");
}

void add_quant_flags(ArgumentParser& parser, TaskOptions& o) {
  train::QuantOptions& q = o.quant;
  parser.group("quantization");
  parser.add("wprec", q.weight_bits, "bits of weights");
  parser.add("aprec", q.activation_bits, "bits of activations");
  parser.add_switch("quant-per-tensor", q.per_tensor,
                    "one range for a whole weight instead of one per output channel");
  parser.add_switch("quant-disable", q.disable, "switch all quantizers off");
  parser.add_switch("quant-disable-embeddings", q.disable_embeddings,
                    "accepted; embeddings are not quantized");
  parser.add("quant-disable-keyword", q.disable_keywords,
             "switch off quantizers whose module name matches one of these expressions");
  parser.add("quant-disable-layer-module", q.disable_layer_module,
             "switch off what matches behind layer.<n>.");
  parser.add("quant-enable-layer-module", q.enable_layer_module,
             "switch on what matches behind layer.<n>. (after all disables)");
  parser.add_choice("calibrator", o.calibrator, {"max", "percentile", "mse", "entropy"},
                    "how ranges are taken from activations");
  parser.add("percentile", q.percentile, "for --calibrator percentile, e.g. 99.999");
  parser.add_switch("fuse-qkv", q.fuse_qkv, "one range for query, key and value");
  parser.add("clip-gelu", q.clip_gelu, "upper bound of the range behind GELU, e.g. 10");
  parser.add_switch("recalibrate-weights", q.recalibrate_weights, "take weight ranges from the weights anew");
  parser.add_switch("disable-dropout", o.run.disable_dropout, "build the model with dropout 0");
}

void add_export_flags(ArgumentParser& parser, TaskExportOptions& e) {
  parser.group("ONNX export");
  parser.add("save_onnx", e.save_onnx, "write model.onnx with explicit Q/DQ nodes");
  parser.add("onnx_file", e.onnx_file, "other name for it (default OUTPUT_DIR/model.onnx)");
  parser.add("opset", e.opset,
             "13 to 17, or 19: the whole graph in half precision, which --fp16 asks for when "
             "this is not given (otherwise 13)");
  parser.add_switch("int8-weights", e.int8_weights,
                    "INT8 weights with DQ nodes in model.onnx.data: a quarter of the size");
  parser.add_switch(
      "trt_attention", e.trt_attention,
      "scale the query before its Q node; TensorRT fuses attention with and without it, heads of 16, 32 and "
      "64 and up to 512 tokens (docs/deploy.md)");
  parser.add_switch("onnx_hidden_states", e.hidden_states,
                    "more outputs: last_hidden_state, and hidden_states.0 (embeddings) to hidden_states.N");
  parser.add_switch("onnx_pooler_output", e.pooler_output, "one more output: pooler_output");
  parser.add_choice(
      "onnx_cache", e.cache, {"none", "present", "past"},
      "of a decoder; present: outputs present.N.key and .value; past: inputs past_key_values.N.key and "
      ".value too. Our engine needs neither, it keeps keys and values itself");
}

void finish_options(TaskOptions& o, const std::string& verb, const Arguments& arguments, bool other_work) {
  const auto positive = [](std::string_view flag, int64_t value) {
    if (value < 1) fail<UsageError>("[{}] {}; at least 1 is needed", flag, value);
  };
  if (o.run.calib_no_shuffle) o.run.calib_shuffle = false;
  o.quant.calibrator = train::parse_calibration_method(o.calibrator);
  train::parse_device(o.run.device);
  o.command_line = "qdqbert " + verb;
  for (const std::string& argument : arguments)
    o.command_line += argument.find_first_of(" '\"\\$") == std::string::npos ? " " + argument
                                                                             : fmt::format(" '{}'", argument);
  if (!o.run.do_calib && !o.run.do_train && !o.run.do_eval && !o.run.do_predict && !o.onnx.save_onnx &&
      !other_work)
    fail<UsageError>(
        "[{}] nothing to do: give --do_calib, --do_train, --do_eval, --do_predict or --save_onnx", verb);
  if (o.run.fp16 && o.run.bf16) fail<UsageError>("[{}] --fp16 and --bf16 exclude each other", verb);
  if (o.run.fp64 && (o.run.fp16 || o.run.bf16 || o.run.do_train))
    fail<UsageError>(
        "[{}] --fp64 is for evaluation and prediction alone and excludes --fp16, --bf16 and --do_train",
        verb);
  if (o.run.fp64 && !o.run.do_eval && !o.run.do_predict)
    fail<UsageError>("[{}] --fp64 needs --do_eval or --do_predict", verb);
  if (o.model.random_init && !o.model.model_name_or_path.empty())
    fail<UsageError>("[{}] --random_init and --model_name_or_path exclude each other", verb);
  if (!o.model.random_init && o.model.model_name_or_path.empty())
    fail<UsageError>("[{}] --model_name_or_path is missing: a checkpoint directory or a cached name", verb);
  if (o.model.model_name_or_path.find(".ckpt") != std::string::npos)
    fail<UsageError>(
        "[{}] {} looks like a TensorFlow checkpoint, which is not read; convert it to safetensors first",
        verb, o.model.model_name_or_path);
  if (o.data.max_seq_length != 0) positive("max_seq_length", o.data.max_seq_length);
  positive("per_device_eval_batch_size", o.run.per_device_eval_batch_size);
  positive("num_calib_samples", o.run.num_calib_samples);
  for (const auto& limit : {o.data.max_train_samples, o.data.max_eval_samples, o.data.max_predict_samples})
    if (limit) positive("max_*_samples", *limit);
  o.onnx.half_by_fp16 = o.run.fp16 && !o.onnx.opset;
  if (!o.onnx.opset) o.onnx.opset = o.run.fp16 ? 19 : 13;
  if (*o.onnx.opset != 19 && (*o.onnx.opset < 13 || *o.onnx.opset > 17))
    fail<UsageError>("[opset] {}; 13 to 17 and 19 are possible", *o.onnx.opset);
  o.quant.validate();
}

}  // namespace qdqbert::cli
