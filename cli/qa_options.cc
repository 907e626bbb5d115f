#include "cli/qa_options.h"

#include "qdqbert/base/error.h"

namespace qdqbert::cli {

namespace {

void add_model(ArgumentParser& parser, QaModelOptions& m) {
  parser.group("model");
  parser.add("model_name_or_path", m.model_name_or_path,
             "directory of a BERT or QDQBERT checkpoint, or a name that is in the Hugging Face cache");
  parser.add("config_name", m.config_name, "other directory or name for config.json");
  parser.add("tokenizer_name", m.tokenizer_name, "other directory or name for the tokenizer");
  parser.add("cache_dir", m.cache_dir, "Hugging Face cache to look names up in");
  parser.add("model_revision", m.model_revision, "branch, tag or commit of a cached name");
  parser.add("random_init", m.random_init,
             "instead of a checkpoint: random weights and plausible ranges for bert-base, bert-large, "
             "minilm-l6 or a config.json");
  parser.refuse(
      "use_auth_token",
      "this command does not go online; put the model into the Hugging Face cache or name its directory");
  parser.refuse(
      "token",
      "this command does not go online; put the model into the Hugging Face cache or name its directory");
  for (const char* name : {"push_to_hub", "hub_model_id", "hub_token", "hub_strategy"})
    parser.refuse(
        name, "uploading is not done by this command; use huggingface-cli upload on the output directory");
}

void add_data(ArgumentParser& parser, QaDataOptions& d, QaRunOptions& r) {
  parser.group("data");
  parser.add("dataset_name", d.dataset_name, "squad or squad_v2, looked up in --data_dir");
  parser.add("dataset_config_name", d.dataset_config_name, "accepted, has no effect on SQuAD");
  parser.add("data_dir", d.data_dir, "where data sets lie (also QDQBERT_DATA_DIR; default ./data)");
  parser.add("train_file", d.train_file, "training questions: .json, .jsonl or .csv, also .gz");
  parser.add("validation_file", d.validation_file, "questions for --do_eval");
  parser.add("test_file", d.test_file, "questions for --do_predict");
  parser.add("overwrite_cache", d.overwrite_cache, "accepted; features are always made anew");
  parser.add("preprocessing_num_workers", d.preprocessing_num_workers, "threads for tokenization");
  parser.add("max_seq_length", d.max_seq_length, "tokens of a feature");
  parser.add("pad_to_max_length", d.pad_to_max_length,
             "pad to max_seq_length; otherwise to the longest of a batch");
  parser.add("max_train_samples", d.max_train_samples, "use the first N training questions");
  parser.add("max_eval_samples", d.max_eval_samples, "use the first N questions of --do_eval");
  parser.add("max_predict_samples", d.max_predict_samples, "use the first N questions of --do_predict");
  parser.add(
      "fix_labels", r.fix_labels,
      "label an answer that begins in the last token of a window with that token (the original does not)");
  parser.add("version_2_with_negative", d.version_2_with_negative, "questions may have no answer (SQuAD v2)");
  parser.add("null_score_diff_threshold", d.null_score_diff_threshold,
             "no answer when its score is ahead by more than this");
  parser.add("doc_stride", d.doc_stride, "tokens that consecutive windows of a long context share");
  parser.add("n_best_size", d.n_best_size, "candidates kept for each question");
  parser.add("max_answer_length", d.max_answer_length, "longest answer, in tokens");
}

void add_run(ArgumentParser& parser, QaRunOptions& r, QaDataOptions& d) {
  parser.group("what to do");
  parser.add("output_dir", r.output_dir, "directory for everything that is written");
  parser.add("overwrite_output_dir", r.overwrite_output_dir,
             "write into a directory that holds a trained model");
  parser.add("do_train", r.do_train, "fine-tune");
  parser.add("do_calib", r.do_calib, "find the ranges of all quantizers and save the model with them");
  parser.add("do_eval", r.do_eval, "answer the validation questions and score the answers");
  parser.add("do_predict", r.do_predict, "answer the test questions");
  parser.add("per_device_eval_batch_size", r.per_device_eval_batch_size,
             "features of a batch in calibration and evaluation");
  parser.add("seed", r.seed, "seed of shuffling and of weights that a checkpoint lacks");
  parser.add("fp16", r.fp16, "products of training, evaluation and prediction in BF16, on a CPU");
  parser.add("bf16", r.bf16, "the same as --fp16");
  parser.add("threads", r.threads, "threads (0: all)");
  parser.add("json", r.json, "write scores and seconds of each phase to this file");
  parser.group("calibration");
  parser.add("calib_file", d.calib_file, "questions to calibrate on (default: the training set)");
  parser.add("calib_shuffle", r.calib_shuffle,
             "draw the calibration features at random (seeded); otherwise in file order");
  parser.add("calib_no_shuffle", r.calib_no_shuffle, "calibrate in file order");
  parser.add("num_calib_samples", r.num_calib_samples, "features to calibrate on");
  parser.refuse("num_calib_batch", "the original never read this flag; use --num_calib_samples");
  parser.add("save_dtype", r.save_dtype, "type of the saved weights: f32, f16 or bf16");
}

void add_quant(ArgumentParser& parser, train::QuantOptions& q, std::string& calibrator, QaRunOptions& r) {
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
  parser.add_choice("calibrator", calibrator, {"max", "percentile", "mse", "entropy"},
                    "how ranges are taken from activations");
  parser.add("percentile", q.percentile, "for --calibrator percentile, e.g. 99.999");
  parser.add_switch("fuse-qkv", q.fuse_qkv, "one range for query, key and value");
  parser.add("clip-gelu", q.clip_gelu, "upper bound of the range behind GELU, e.g. 10");
  parser.add_switch("recalibrate-weights", q.recalibrate_weights, "take weight ranges from the weights anew");
  parser.add_switch("disable-dropout", r.disable_dropout, "build the model with dropout 0");
}

void add_export(ArgumentParser& parser, QaExportOptions& e) {
  parser.group("ONNX export");
  parser.add("save_onnx", e.save_onnx, "write model.onnx with explicit Q/DQ nodes");
  parser.add("onnx_file", e.onnx_file, "other name for it (default OUTPUT_DIR/model.onnx)");
  parser.add("opset", e.opset, "13 to 17, or 19 (the whole graph in half precision)");
  parser.add_switch("int8-weights", e.int8_weights,
                    "INT8 weights with DQ nodes in model.onnx.data: a quarter of the size");
  parser.add_switch("trt_attention", e.trt_attention,
                    "scale the query before its Q node, as TensorRT's fused attention wants");
}

void check(const QaOptions& o) {
  const auto positive = [](std::string_view flag, int64_t value) {
    if (value < 1) fail<UsageError>("[{}] {}; at least 1 is needed", flag, value);
  };
  if (!o.run.do_calib && !o.run.do_train && !o.run.do_eval && !o.run.do_predict && !o.onnx.save_onnx)
    fail<UsageError>(
        "[qa] nothing to do: give --do_calib, --do_train, --do_eval, --do_predict or --save_onnx");
  if (o.run.fp16 && o.run.bf16) fail<UsageError>("[qa] --fp16 and --bf16 exclude each other");
  if (!o.run.do_train && o.training.resume_from_checkpoint)
    fail<UsageError>("[resume_from_checkpoint] needs --do_train");
  if (!o.run.do_train && (o.training.teacher || o.training.learn_amax))
    fail<UsageError>("[{}] needs --do_train", o.training.teacher ? "teacher" : "learn-amax");
  if (o.training.learn_amax && o.quant.disable)
    fail<UsageError>(
        "[learn-amax] and --quant-disable exclude each other: without quantizers there are no ranges");
  if (o.model.random_init && !o.model.model_name_or_path.empty())
    fail<UsageError>("[qa] --random_init and --model_name_or_path exclude each other");
  if (!o.model.random_init && o.model.model_name_or_path.empty())
    fail<UsageError>("[qa] --model_name_or_path is missing: a checkpoint directory or a cached name");
  if (o.model.model_name_or_path.find(".ckpt") != std::string::npos)
    fail<UsageError>(
        "[qa] {} looks like a TensorFlow checkpoint, which is not read; convert it to safetensors first",
        o.model.model_name_or_path);
  positive("max_seq_length", o.data.max_seq_length);
  positive("per_device_eval_batch_size", o.run.per_device_eval_batch_size);
  positive("num_calib_samples", o.run.num_calib_samples);
  positive("max_answer_length", o.data.max_answer_length);
  if (o.data.doc_stride < 0) fail<UsageError>("[doc_stride] {} is negative", o.data.doc_stride);
  if (o.data.n_best_size < 0) fail<UsageError>("[n_best_size] {} is negative", o.data.n_best_size);
  for (const auto& limit : {o.data.max_train_samples, o.data.max_eval_samples, o.data.max_predict_samples})
    if (limit) positive("max_*_samples", *limit);
  if (o.onnx.opset != 19 && (o.onnx.opset < 13 || o.onnx.opset > 17))
    fail<UsageError>("[opset] {}; 13 to 17 and 19 are possible", o.onnx.opset);
  o.quant.validate();
}

}  // namespace

std::optional<QaOptions> parse_qa(const Arguments& arguments) {
  QaOptions o;
  std::string calibrator = "max";
  ArgumentParser parser(
      "qa", "--model_name_or_path M --output_dir D [flags]",
      "Question answering with the flags of the QDQBERT SQuAD example. Several actions may be combined; they "
      "run in the order\n"
      "calibrate, train, evaluate, predict, export and act on the same model.\n\n"
      "  post-training quantization:  qdqbert qa --model_name_or_path M --dataset_name squad --do_calib "
      "--do_eval \\\n"
      "                                 --calibrator percentile --percentile 99.999 --output_dir calibrated\n"
      "  quantization-aware training: qdqbert qa --model_name_or_path calibrated --dataset_name squad "
      "--do_train "
      "--do_eval \\\n"
      "                                 --learning_rate 1e-5 --num_train_epochs 2 --output_dir trained\n"
      "  fine-tuning in FP32:         the same with --quant-disable on a model that was not fine-tuned "
      "before\n"
      "  export for an INT8 engine:   qdqbert qa --model_name_or_path calibrated --save_onnx --output_dir "
      "exported");
  add_model(parser, o.model);
  add_data(parser, o.data, o.run);
  add_run(parser, o.run, o.data);
  add_quant(parser, o.quant, calibrator, o.run);
  add_export(parser, o.onnx);
  o.training.lr_scheduler_type = "cosine";  // the original always takes it
  add_training_flags(parser, o.training);
  parser.require("output_dir");
  if (!parser.parse(arguments)) return std::nullopt;
  if (o.run.calib_no_shuffle) o.run.calib_shuffle = false;
  o.quant.calibrator = train::parse_calibration_method(calibrator);
  o.command_line = "qdqbert qa";
  for (const std::string& argument : arguments)
    o.command_line += argument.find_first_of(" '\"\\$") == std::string::npos ? " " + argument
                                                                             : fmt::format(" '{}'", argument);
  check(o);
  if (o.run.do_train) o.trainer = trainer_options(o.training, o.run.seed, o.run.fp16 || o.run.bf16);
  // As the original: who evaluates during training also evaluates at its end.
  if (o.run.do_train && o.trainer.evaluation != train::Interval::kNo) o.run.do_eval = true;
  return o;
}

}  // namespace qdqbert::cli
