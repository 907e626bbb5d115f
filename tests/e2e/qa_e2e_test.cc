// The documented scenarios as commands, on a tiny random model and real questions. Each test carries
// the id of its scenario; tests/scenarios.md lists all of them.
#include <algorithm>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/command.h"
#include "tests/e2e/tiny_model.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;
using testing::CommandResult;
using ::testing::HasSubstr;
using testing::run_command;
using testing::ScratchDirectory;

constexpr int64_t kLayers = 2;

class QaTest : public ::testing::Test {
 protected:
  QaTest() : model_(scratch_ / "float"), squad_(scratch_ / "tiny.json") {
    float_model_ = testing::save_tiny_model(model_);
    ids_ = testing::write_tiny_squad(squad_, 40);
  }

  /// qa on `model` with the documented lengths; fails the test unless the exit code is 0.
  CommandResult qa(const std::string& model, const std::string& output,
                   std::vector<std::string> flags) const {
    std::vector<std::string> words = {
        "qa",  "--model_name_or_path", model, "--output_dir", output, "--max_seq_length",
        "128", "--doc_stride",         "32",  "--threads",    "2"};
    words.insert(words.end(), flags.begin(), flags.end());
    const CommandResult result = run_command(words);
    EXPECT_EQ(result.code, 0) << result.err;
    return result;
  }

  std::string calibrated(const std::string& name,
                         std::vector<std::string> flags = {"--calibrator", "percentile", "--percentile",
                                                           "99.99"}) const {
    flags.insert(flags.end(), {"--do_calib", "--train_file", squad_});
    qa(model_, scratch_ / name, flags);
    return scratch_ / name;
  }

  /// Exports and returns what `inspect` finds in the file.
  Json exported(const std::string& model, const std::string& name,
                std::vector<std::string> flags = {}) const {
    flags.insert(flags.end(),
                 {"--save_onnx", "--per_device_eval_batch_size", "1", "--validation_file", squad_});
    qa(model, scratch_ / name, flags);
    return inspected(scratch_ / (name + "/model.onnx"), name + ".json");
  }

  /// Answers of evaluate-onnx to the questions, in `precision`: "", "--fp16" or "--int8".
  Json evaluated_onnx(const std::string& directory, const std::string& precision) const {
    std::vector<std::string> words = {"evaluate-onnx",
                                      "--onnx_model_path",
                                      directory + "/model.onnx",
                                      "--output_dir",
                                      scratch_ / "onnx_scores",
                                      "--tokenizer_name",
                                      model_,
                                      "--validation_file",
                                      squad_,
                                      "--max_seq_length",
                                      "128",
                                      "--doc_stride",
                                      "32",
                                      "--per_device_eval_batch_size",
                                      "64",
                                      "--seed",
                                      "42"};
    if (!precision.empty()) words.push_back(precision);
    const CommandResult result = run_command(words);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("Average Inference Time = "));
    EXPECT_THAT(result.out, HasSubstr("Evaluation metrics: {'exact_match': "));
    return read_json(fs::path(scratch_ / "onnx_scores") / "eval_predictions.json");
  }

  /// Share of equal answers.
  static double agreement(const Json& a, const Json& b) {
    EXPECT_EQ(a.size(), b.size());
    size_t equal = 0;
    for (const auto& [id, text] : a.items()) equal += b.at(id) == text ? 1 : 0;
    return static_cast<double>(equal) / static_cast<double>(a.size());
  }

  Json inspected(const std::string& model, const std::string& name) const {
    const auto result = run_command({"inspect", model, "--json", scratch_ / name});
    EXPECT_EQ(result.code, 0) << result.err;
    return read_json(scratch_ / name);
  }

  /// Ranges of a calibrated directory by quantizer.
  std::map<std::string, Json> ranges(const std::string& directory) const {
    std::map<std::string, Json> map;
    const Json facts = inspected(directory, "ranges.json");
    for (const Json& row : facts.at("quantizers")) map[row.at("name")] = row.at("amax");
    return map;
  }

  ScratchDirectory scratch_;
  std::string model_, squad_;
  std::vector<std::string> ids_;
  std::shared_ptr<model::PreTrainedModel> float_model_;
};

int64_t nodes_of(const Json& facts, const std::string& type) {
  const Json& operators = facts.at("graph").at("operators");
  return operators.contains(type) ? operators.at(type).get<int64_t>() : 0;
}

/// Scale of the pair whose name contains all of `parts`.
Json scale_of(const Json& facts, const std::vector<std::string>& parts) {
  for (const Json& pair : facts.at("quantized")) {
    const std::string name = pair.at("name");
    if (std::all_of(parts.begin(), parts.end(),
                    [&](const std::string& part) { return name.find(part) != std::string::npos; }))
      return pair.at("scale");
  }
  ADD_FAILURE() << "no pair " << fmt::format("{}", parts.back());
  return 1.0;
}

// S14: calibrate with percentile 99.99, length 128, stride 32.
// The directory holds weights, every range, the tokenizer.
TEST_F(QaTest, S14_Calibrate) {
  const std::string directory = calibrated(
      "calib", {"--calibrator", "percentile", "--percentile", "99.99", "--per_device_eval_batch_size", "12"});
  for (const char* name : {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json",
                           "tokenizer_config.json", "special_tokens_map.json", "quantization.json"})
    EXPECT_TRUE(fs::exists(fs::path(directory) / name)) << name;
  EXPECT_EQ(io::read_config(fs::path(directory) / "config.json").model_type, "qdqbert");
  const auto checkpoint = io::Checkpoint::open(directory);
  int64_t amax = 0;
  for (const io::NamedTensor& item : checkpoint.tensors()) amax += item.name.ends_with("._amax") ? 1 : 0;
  EXPECT_EQ(amax, 20 * kLayers);
  for (const auto& [name, range] : ranges(directory)) {
    EXPECT_FALSE(range.is_null()) << name;
    EXPECT_EQ(range.is_object(), name.ends_with("_weight_quantizer")) << name;
  }
}

// The original stops after ceil(128 / batch) batches: 132 samples of 12, when there are that many.
TEST_F(QaTest, S14_The128SampleRule) {
  testing::write_tiny_squad(squad_, 128);
  Json squad = read_json(squad_);
  Json twice = squad.at("data");
  for (Json& article : twice)
    for (Json& paragraph : article.at("paragraphs"))
      for (Json& question : paragraph.at("qas")) question["id"] = question.at("id").get<std::string>() + "b";
  for (const Json& article : twice) squad["data"].push_back(article);
  write_file(squad_, dump_json(squad));
  const auto samples = [&](const std::string& name, std::vector<std::string> flags) {
    const std::string directory = calibrated(name, std::move(flags));
    return read_json(fs::path(directory) / "quantization.json")
        .at("calibration")
        .at("samples")
        .get<int64_t>();
  };
  EXPECT_EQ(samples("a", {"--per_device_eval_batch_size", "12"}), 132);
  EXPECT_EQ(samples("b", {}), 128);
  EXPECT_EQ(samples("c", {"--num_calib_samples", "24", "--calib_no_shuffle"}), 24);
}

// S16: export for TensorRT from a calibrated directory.
TEST_F(QaTest, S16_Export) {
  const Json facts = exported(calibrated("calib"), "onnx");
  EXPECT_EQ(facts.at("graph").at("opset"), 13);
  EXPECT_EQ(facts.at("quantized").size(), static_cast<size_t>(16 * kLayers));
  EXPECT_EQ(facts.at("graph").at("inputs").get<std::vector<std::string>>(),
            (std::vector<std::string>{"input_ids", "attention_mask", "token_type_ids"}));
  EXPECT_EQ(facts.at("graph").at("outputs").get<std::vector<std::string>>(),
            (std::vector<std::string>{"output_start_logits", "output_end_logits"}));
  for (const Json& pair : facts.at("lint")) EXPECT_NE(pair.at("fate"), "orphan") << pair.dump();
}

// S17: ranges of weights taken anew, per tensor.
TEST_F(QaTest, S17_RecalibrateWeightsPerTensor) {
  const std::string directory = calibrated("calib");
  const Json facts = exported(directory, "onnx", {"--recalibrate-weights", "--quant-per-tensor"});
  for (const Json& pair : facts.at("quantized"))
    EXPECT_TRUE(!pair.at("constant").get<bool>() || pair.at("scale").is_number()) << pair.dump();
  const at::Tensor weight =
      float_model_->named_parameters()["bert.encoder.layer.0.intermediate.dense.weight"];
  EXPECT_NEAR(scale_of(facts, {"layer.0", "intermediate", "weight"}).get<double>(),
              weight.abs().max().item<double>() / 127, 1e-7);
  // E18: the original prints a placeholder in place of the name.
  const CommandResult told = run_command({"qa", "--model_name_or_path", directory, "--output_dir",
                                          scratch_ / "again", "--save_onnx", "--recalibrate-weights"});
  EXPECT_THAT(told.err, HasSubstr("RECALIB: bert.encoder.layer.0.attention.self.query"));
  const Json per_channel = exported(directory, "channels");
  EXPECT_TRUE(scale_of(per_channel, {"layer.0", "intermediate", "weight"}).is_object());
}

TEST_F(QaTest, LogLevelsLeaveLinesOut) {
  for (const auto& [level, summary, details] :
       {std::tuple{"debug", true, true}, {"info", true, false}, {"warning", false, false}}) {
    const CommandResult result =
        qa(model_, scratch_ / "told", {"--quant-disable", "--save_onnx", "--log_level", level});
    EXPECT_EQ(result.err.find("quantizers are disabled") != std::string::npos, summary) << level;
    EXPECT_EQ(result.err.find("Warning: changing") != std::string::npos, details) << level;
  }
}

// S22: the float model exports without a single Q or DQ.
TEST_F(QaTest, S22_ExportFloat) {
  const Json facts = exported(model_, "onnx", {"--quant-disable"});
  EXPECT_EQ(nodes_of(facts, "QuantizeLinear"), 0);
  EXPECT_EQ(nodes_of(facts, "DequantizeLinear"), 0);
  EXPECT_GT(nodes_of(facts, "MatMul"), 0);
  qa(model_, scratch_ / "float_scores", {"--do_eval", "--quant-disable", "--validation_file", squad_});
  const Json expected = read_json(fs::path(scratch_ / "float_scores") / "eval_predictions.json");
  EXPECT_EQ(agreement(evaluated_onnx(scratch_ / "onnx", ""), expected), 1);
  // Eight bits of mantissa decide between near-equal answers of a model with random weights otherwise.
  EXPECT_GT(agreement(evaluated_onnx(scratch_ / "onnx", "--fp16"), expected), 0.5);
}

// S23: post-training quantization, calibrated and scored in one run.
TEST_F(QaTest, S23_CalibrateAndEvaluate) {
  const auto result =
      qa(model_, scratch_ / "ptq",
         {"--do_calib", "--do_eval", "--calibrator", "percentile", "--percentile", "99.99", "--train_file",
          squad_, "--validation_file", squad_, "--json", scratch_ / "scores.json"});
  EXPECT_THAT(result.out, HasSubstr("***** eval metrics *****"));
  EXPECT_THAT(result.out, HasSubstr(fmt::format("{} TensorQuantizers found in model", 20 * kLayers)));
  const fs::path output = scratch_ / "ptq";
  const Json predictions = read_json(output / "eval_predictions.json");
  std::vector<std::string> ids;
  for (const auto& [id, text] : predictions.items()) ids.push_back(id);
  EXPECT_EQ(ids, ids_);
  EXPECT_EQ(read_json(output / "eval_nbest_predictions.json").size(), ids_.size());
  const Json scores = read_json(output / "eval_results.json"), report = read_json(scratch_ / "scores.json");
  EXPECT_EQ(scores, read_json(output / "all_results.json"));
  EXPECT_EQ(scores.at("eval_f1"), report.at("f1"));
  EXPECT_EQ(scores.at("eval_exact_match"), report.at("exact_match"));
  EXPECT_GE(scores.at("eval_samples").get<size_t>(), ids_.size());
  for (const char* phase : {"calibrate", "evaluate"})
    EXPECT_GT(report.at("seconds").at(phase).get<double>(), 0) << phase;
  // The same scores from the saved directory, which needs none of the calibration's flags.
  qa(output.string(), scratch_ / "again", {"--do_eval", "--validation_file", squad_});
  EXPECT_EQ(read_json(fs::path(scratch_ / "again") / "eval_predictions.json"), predictions);
}

// Rows that are padded on the left cannot be cut to their tokens.
TEST_F(QaTest, TokenizersThatPadOnTheLeft) {
  const fs::path config = fs::path(model_) / "tokenizer_config.json";
  Json options = read_json(config);
  options["padding_side"] = "left";
  write_file(config, dump_json(options));
  for (const char* flag : {"--pad_to_max_length", "--no_pad_to_max_length"}) {
    qa(model_, scratch_ / "left", {"--do_eval", "--quant-disable", "--validation_file", squad_, flag});
    const Json predictions = read_json(fs::path(scratch_ / "left") / "eval_predictions.json");
    ASSERT_EQ(predictions.size(), ids_.size());
    for (const auto& [id, text] : predictions.items()) EXPECT_NE(text, "empty") << id;
  }
}

// S24, the export part (S19 evaluates it with the engine).
TEST_F(QaTest, S24_ExportAfterPostTrainingQuantization) {
  const std::string directory = calibrated("calib", {"--calibrator", "max"});
  const Json facts = exported(directory, "onnx");
  const auto range = ranges(directory);
  for (const char* name : {"matmul_q", "matmul_k", "matmul_v", "matmul_a"}) {
    const double amax =
        range.at(fmt::format("bert.encoder.layer.1.attention.self.{}_input_quantizer", name)).get<double>();
    EXPECT_NEAR(scale_of(facts, {"layer.1", name}).get<double>(), amax / 127, 1e-6 * amax) << name;
  }
  // The integer kernels and the fake-quantized model round the same sums in another order.
  qa(directory, scratch_ / "fake_scores", {"--do_eval", "--validation_file", squad_});
  const Json expected = read_json(fs::path(scratch_ / "fake_scores") / "eval_predictions.json");
  const double equal = agreement(evaluated_onnx(scratch_ / "onnx", "--int8"), expected);
  std::printf("answers of the engine equal to those of the fake-quantized model: %.3f\n", equal);
  EXPECT_GT(equal, 0.8);
}

// S25: the README's table of options: --quant-per-tensor, --fuse-qkv, --clip-gelu N.
TEST_F(QaTest, S25_Options) {
  const std::string directory = calibrated("calib", {"--calibrator", "max"});
  const Json plain = exported(directory, "plain");
  const auto scale = [&](const Json& facts, const char* name) {
    return scale_of(facts, {"layer.0", name}).get<double>();
  };
  const Json fused = exported(directory, "fused", {"--fuse-qkv"});
  const double top = std::max({scale(plain, "matmul_q"), scale(plain, "matmul_k"), scale(plain, "matmul_v")});
  for (const char* name : {"matmul_q", "matmul_k", "matmul_v"}) EXPECT_EQ(scale(fused, name), top) << name;
  EXPECT_EQ(scale(fused, "matmul_a"), scale(plain, "matmul_a"));
  const auto range = ranges(directory);
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const double amax =
        range.at(fmt::format("bert.encoder.layer.{}.output.dense._input_quantizer", layer)).get<double>();
    for (const double bound : {amax / 2, amax * 2}) {
      const Json clipped = exported(directory, "clipped", {"--clip-gelu", fmt::format("{}", bound)});
      bool found = false;
      for (const Json& pair : clipped.at("quantized"))
        found |= pair.at("scale").is_number() &&
                 std::abs(pair.at("scale").get<double>() - std::min(amax, bound) / 127) < 1e-6 * amax;
      EXPECT_TRUE(found) << "layer " << layer << " bound " << bound;
    }
  }
  const std::string per_tensor = calibrated("per_tensor", {"--calibrator", "max", "--quant-per-tensor"});
  for (const auto& [name, amax] : ranges(per_tensor)) EXPECT_TRUE(amax.is_number()) << name;
  // In one run with calibration, where the original stops with an attribute error.
  const std::string clipped = calibrated("early", {"--calibrator", "max", "--clip-gelu", "0.5"});
  for (const auto& [name, amax] : ranges(clipped))
    if (name.ends_with("output.dense._input_quantizer") &&
        name.find("attention.output") == std::string::npos) {
      EXPECT_LE(amax.get<double>(), 0.5) << name;
    }
}

// The original's --calibrator mse silently takes a percentile (E1).
TEST_F(QaTest, MethodsGiveRangesOfTheirOwn) {
  std::map<std::string, double> range;
  const std::string quantizer = "bert.encoder.layer.0.intermediate.dense._input_quantizer";
  for (const char* method : {"max", "mse", "entropy"})
    range[method] = ranges(calibrated(method, {"--calibrator", method})).at(quantizer).get<double>();
  range["percentile"] = ranges(calibrated("percentile")).at(quantizer).get<double>();
  EXPECT_LT(range["percentile"], range["max"]);
  EXPECT_LT(range["mse"], range["max"]);
  EXPECT_LT(range["entropy"], range["max"]);
  EXPECT_NE(range["mse"], range["percentile"]);
  EXPECT_NE(range["mse"], range["entropy"]);
}

TEST_F(QaTest, ShuffledCalibrationRepeatsWithItsSeed) {
  const auto with_seed = [&](const std::string& name, const char* seed) {
    return ranges(calibrated(name, {"--calibrator", "max", "--num_calib_samples", "8", "--seed", seed}));
  };
  const auto first = with_seed("a", "1");
  EXPECT_EQ(first, with_seed("b", "1"));
  EXPECT_NE(first, with_seed("c", "2"));
}

// Ranges fixed: grouping by length and trimming padding must not change answers.
TEST_F(QaTest, BatchSizeDoesNotChangeAnswers) {
  const std::string directory = calibrated("calib");
  for (const char* batch : {"1", "7", "64"})
    qa(directory, scratch_ / batch,
       {"--do_eval", "--validation_file", squad_, "--per_device_eval_batch_size", batch});
  const auto answers = [&](const char* batch) {
    return read_json(fs::path(scratch_ / batch) / "eval_predictions.json");
  };
  const Json single = answers("1");
  size_t differing = 0;
  for (const char* batch : {"7", "64"}) {
    const Json other = answers(batch);
    for (const auto& [id, text] : single.items()) differing += other.at(id) == text ? 0 : 1;
  }
  EXPECT_LE(differing, 4U) << "of 80: more than codes that rounding decides";
}

// E12: a limit above the size of the set takes the whole set,
// and prediction alone heeds the quantization flags.
TEST_F(QaTest, E12_PredictionAlone) {
  const auto predictions = [&](const std::string& name, std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--do_predict", "--test_file", squad_, "--max_predict_samples", "1000"});
    qa(model_, scratch_ / name, flags);
    return read_json(scratch_ / (name + "/predict_predictions.json"));
  };
  const Json quantized = predictions("quantized", {}), plain = predictions("plain", {"--quant-disable"});
  EXPECT_EQ(plain.size(), ids_.size());
  EXPECT_NE(quantized, plain);
  qa(model_, scratch_ / "evaluated", {"--do_eval", "--quant-disable", "--validation_file", squad_});
  EXPECT_EQ(plain, read_json(scratch_ / "evaluated/eval_predictions.json"));
}

// --fp16 as the original's commands have it: products in BF16, and a line that says so.
TEST_F(QaTest, HalfPrecisionFlagsEvaluateInBf16) {
  const auto scores = [&](const std::string& name, std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--do_eval", "--quant-disable", "--validation_file", squad_});
    const CommandResult result = qa(model_, scratch_ / name, flags);
    EXPECT_EQ(result.err.find("BF16") != std::string::npos, name != "fp32") << result.err;
    return read_json(scratch_ / (name + "/eval_nbest_predictions.json"));
  };
  const Json exact = scores("fp32", {}), fp16 = scores("fp16", {"--fp16"}), bf16 = scores("bf16", {"--bf16"});
  EXPECT_EQ(fp16, bf16);
  EXPECT_NE(fp16, exact);
}

// The original's --fp16 export meant half precision: so does ours, unless an opset is asked for.
TEST_F(QaTest, Fp16ExportsInHalfPrecision) {
  const std::string directory = calibrated("calib");
  const auto run = [&](const std::string& name, std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--save_onnx", "--validation_file", squad_, "--do_eval"});
    const std::string log = qa(directory, scratch_ / name, flags).err;
    const Json facts = inspected(scratch_ / (name + "/model.onnx"), name + ".json");
    return std::pair(log, facts.at("graph").at("opset").get<int>());
  };
  const auto [half_log, half] = run("half", {"--fp16"});
  EXPECT_EQ(half, 19);
  EXPECT_NE(half_log.find("the exported file is in half precision, opset 19"), std::string::npos) << half_log;
  const auto [kept_log, kept] = run("kept", {"--fp16", "--opset", "13"});
  EXPECT_EQ(kept, 13);
  EXPECT_NE(kept_log.find("--fp16 with --opset 13: the exported file stays FP32"), std::string::npos)
      << kept_log;
  EXPECT_EQ(run("bf16", {"--bf16"}).second, 13);
  EXPECT_EQ(run("plain", {}).second, 13);
  // The engine reads it, and answers as it does for the file in FP32.
  EXPECT_GT(
      agreement(evaluated_onnx(scratch_ / "half", "--int8"), evaluated_onnx(scratch_ / "kept", "--int8")),
      0.5);
}

// Another rounding, hardly another answer; and the model is itself again afterwards.
TEST_F(QaTest, Fp64EvaluatesInSixtyFourBits) {
  const auto scores = [&](const std::string& name, std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--do_eval", "--quant-disable", "--save_onnx", "--validation_file", squad_});
    qa(model_, scratch_ / name, flags);
    return read_json(scratch_ / (name + "/eval_nbest_predictions.json"));
  };
  const Json single = scores("fp32", {}), wide = scores("fp64", {"--fp64"});
  EXPECT_NE(wide, single);
  for (const auto& [id, answers] : single.items())
    EXPECT_NEAR(answers.at(0).at("probability").get<double>(),
                wide.at(id).at(0).at("probability").get<double>(), 1e-4)
        << id;
  EXPECT_EQ(read_file(scratch_ / "fp32/model.onnx"), read_file(scratch_ / "fp64/model.onnx"));
  EXPECT_EQ(run_command({"qa", "--model_name_or_path", model_, "--output_dir", scratch_ / "no", "--fp64",
                         "--save_onnx"})
                .code,
            2);
}

// An encoder without a head: calibrated on texts, exported with what else is
// asked for, and answering by itself.
TEST_F(QaTest, EmbedMakesAnEncoderThatPredictUnderstands) {
  std::string texts, requests;
  size_t count = 0;
  const Json squad = read_json(squad_);
  for (const Json& article : squad.at("data"))
    for (const Json& paragraph : article.at("paragraphs"))
      for (const Json& item : paragraph.at("qas")) {
        texts += item.at("question").get<std::string>() + "\n\n";
        requests += dump_json({{"id", count++}, {"text", item.at("question")}}, {-1, false, false, true});
      }
  const std::string file = scratch_ / "texts.txt", output = scratch_ / "encoder";
  write_file(file, texts);
  const std::vector<std::string> base = {
      "embed", "--model_name_or_path", model_, "--output_dir", output, "--threads", "2"};
  const auto embed = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), base.begin(), base.end());
    return run_command(flags);
  };
  const CommandResult made = embed({"--do_calib", "--train_file", file, "--do_predict", "--test_file", file,
                                    "--save_onnx", "--onnx_hidden_states"});
  ASSERT_EQ(made.code, 0) << made.err;
  const Json graph = inspected(output + "/model.onnx", "encoder.json").at("graph");
  EXPECT_EQ(graph.at("outputs").size(), 2 + static_cast<size_t>(kLayers) + 1) << graph.at("outputs");
  testing::CommandOptions options;
  options.input = requests;
  const CommandResult answered = run_command({"predict", output}, options);
  ASSERT_EQ(answered.code, 0) << answered.err;
  const auto rows = [](const std::string& lines) {
    std::vector<std::vector<double>> found;
    for (size_t begin = 0; begin < lines.size();) {
      const size_t end = lines.find('\n', begin);
      found.push_back(parse_json(lines.substr(begin, end - begin), "a line").at("embedding"));
      begin = end + 1;
    }
    return found;
  };
  const auto engine = rows(answered.out), fake = rows(read_file(output + "/predict_embeddings.jsonl"));
  ASSERT_EQ(engine.size(), count);
  ASSERT_EQ(fake.size(), 2 * count) << "an empty line is a text, too";
  // The same text is nearest, whatever codes lie on ties.
  for (size_t i = 0; i < count; ++i) {
    std::vector<double> cosines;
    for (size_t j = 0; j < count; ++j)
      cosines.push_back(std::inner_product(fake[2 * j].begin(), fake[2 * j].end(), engine[i].begin(), 0.0));
    EXPECT_EQ(std::max_element(cosines.begin(), cosines.end()) - cosines.begin(),
              static_cast<std::ptrdiff_t>(i));
  }
  const CommandResult trained = embed({"--do_train", "--train_file", file});
  EXPECT_EQ(trained.code, 2);
  EXPECT_THAT(trained.err, HasSubstr("has none"));
  const CommandResult cached = embed({"--save_onnx", "--quant-disable", "--onnx_cache", "past"});
  EXPECT_EQ(cached.code, 2);
  EXPECT_THAT(cached.err, HasSubstr("no decoder"));
}

TEST_F(QaTest, RandomInitExportsAFileForBenchmarks) {
  write_file(scratch_ / "config.json", dump_json(io::to_json(testing::tiny_config())));
  const auto run = [&](const std::string& name) {
    const auto result =
        run_command({"qa", "--random_init", scratch_ / "config.json", "--seed", "3", "--save_onnx",
                     "--onnx_file", scratch_ / (name + ".onnx"), "--output_dir", scratch_ / name});
    EXPECT_EQ(result.code, 0) << result.err;
    return read_file(scratch_ / (name + ".onnx"));
  };
  EXPECT_EQ(run("a"), run("b"));
  EXPECT_EQ(inspected(scratch_ / "a.onnx", "a.json").at("quantized").size(),
            static_cast<size_t>(16 * kLayers));
  EXPECT_EQ(io::read_config(scratch_ / "config.json").architectures,
            std::vector<std::string>{"QDQBertForQuestionAnswering"})
      << "what lies beside a file belongs to it";
}

}  // namespace
}  // namespace qdqbert
