// Calibration and the configure step against the original's ranges, flags, summaries and log lines.
#include <algorithm>
#include <regex>

#include <gtest/gtest.h>

#include "qdqbert/train/calibrate.h"

#include "tests/model/model_case.h"
#include "tests/model/range_judge.h"
#include "tests/support/golden.h"
#include "tests/train/option_words.h"

namespace qdqbert::train {
namespace {

namespace fs = std::filesystem;
using model::NamedQuantizer;
using model::PreTrainedModel;
using testing::difference;
using testing::quant_options;
using testing::tensor_of;

/// Log lines as the golden file has them: "INFO: text". Restores the sink.
class CapturedLog {
 public:
  CapturedLog()
      : previous_(set_log_sink([this](LogLevel level, std::string_view line) {
          const char* name = level == LogLevel::kDebug  ? "DEBUG"
                             : level == LogLevel::kInfo ? "INFO"
                                                        : "WARNING";
          lines_.push_back(fmt::format("{}: {}", name, line));
        })) {}
  ~CapturedLog() { set_log_sink(previous_); }
  std::vector<std::string> take(std::initializer_list<std::string_view> levels) {
    std::vector<std::string> taken;
    for (const std::string& line : lines_)
      for (const std::string_view level : levels)
        if (line.starts_with(fmt::format("{}: ", level))) taken.push_back(line.substr(level.size() + 2));
    return taken;
  }
  void clear() { lines_.clear(); }

 private:
  std::vector<std::string> lines_;
  LogSink previous_;
};

BatchSource batches_of(const io::SafetensorsFile& file) {
  return [&file, batch = 0]() mutable -> std::optional<CalibrationBatch> {
    CalibrationBatch next;
    next.inputs = testing::inputs_of(file, fmt::format("calib{}.", batch++));
    const at::Tensor& any =
        next.inputs.input_ids.defined() ? next.inputs.input_ids : next.inputs.inputs_embeds;
    if (!any.defined()) return std::nullopt;
    next.samples = any.size(0);
    return next;
  };
}

/// Both texts with every number replaced, and the numbers: equal texts have equal words, and numbers that
/// differ by at most one unit of the last printed decimal (a range that differs in its last bit may round the
/// other way).
void expect_same_text(const std::string& ours, const std::string& theirs) {
  static const std::regex number(R"(-?\d+\.\d+)");
  EXPECT_EQ(std::regex_replace(ours, number, "#"), std::regex_replace(theirs, number, "#"));
  std::sregex_iterator a(ours.begin(), ours.end(), number), b(theirs.begin(), theirs.end(), number), end;
  for (; a != end && b != end; ++a, ++b) {
    const std::string text = b->str();
    const double unit = std::pow(10.0, -static_cast<double>(text.size() - text.find('.') - 1));
    EXPECT_NEAR(std::stod(a->str()), std::stod(text), 1.001 * unit) << ours;
  }
}

// Weights come from whichever file holds them besides the calibration inputs.
std::shared_ptr<PreTrainedModel> build(const std::string& class_name, const io::BertConfig& config,
                                       const std::string& options, const io::Checkpoint& weights,
                                       at::Device device = testing::test_device()) {
  auto built = model::make_model(class_name, config, quant_defaults(quant_options(options)));
  model::load_weights(*built, weights);
  testing::move_to(*built, device);
  return built;
}

/// What a case does after calibration, out of flags or of words.
struct Configure {
  std::string options;
  bool rebuilt_per_tensor = false;
};

Configure configure_of(const Json& run) {
  Configure configure;
  if (run.at("configure_options").is_null()) return configure;
  const std::string text = run.at("configure_options");
  configure.options = text;
  if (text.empty() || text.starts_with("--")) return configure;
  configure.rebuilt_per_tensor = text.find("axis") != std::string::npos;
  const size_t flags = text.find("then --");
  if (flags != std::string::npos) {
    configure.options = text.substr(flags + 5);
  } else {
    configure.options = configure.rebuilt_per_tensor ? "--quant-per-tensor" : "";
  }
  return configure;
}

void multiply_weights(PreTrainedModel& built, const Json& run) {
  if (!run.contains("changes_weights")) return;
  const std::string text = run.at("changes_weights");
  std::smatch found;
  ASSERT_TRUE(std::regex_search(text, found, std::regex(R"(\* ([0-9.]+))"))) << text;
  const at::NoGradGuard no_grad;
  for (const model::NamedLinear& item : built.named_quant_linears())
    item.linear->weight.mul_(std::stod(found[1]));
}

void run_case(const fs::path& directory, const Json& golden, const Json& run) {
  SCOPED_TRACE(run.at("run").get<std::string>());
  const std::string options = run.at("build_options");
  const std::string class_name = golden.at("class");
  const io::BertConfig config = io::read_config(directory / "config.json");
  const auto checkpoint = io::Checkpoint::open(directory / golden.at("weights_file").get<std::string>());
  const auto inputs = io::SafetensorsFile::open(directory / "io.safetensors");
  for (const io::NamedTensor& item : checkpoint.tensors())
    if (item.name.ends_with("attention.self.query.weight") && item.tensor.shape.at(0) != config.hidden_size)
      throw testing::GoldenSkip{
          "pruned heads: the original loses their quantizers; the model family covers them"};
  const Configure configure = configure_of(run);
  const auto collected = build(class_name, config, options, checkpoint);
  std::optional<io::SafetensorsFile> ranges;
  if (run.at("calibrated").get<bool>()) {
    ranges = io::SafetensorsFile::open(directory / run.at("amax_file").get<std::string>());
    QuantOptions calibration = quant_options(options);
    // The original's mse takes the percentile; ours does not, but the collection under it is the same.
    if (calibration.calibrator == CalibrationMethod::kMse)
      calibration.calibrator = CalibrationMethod::kPercentile;
    EXPECT_GT(calibrate(*collected, batches_of(inputs), 0, calibration), 0);
  }
  auto built =
      build(class_name, config, configure.rebuilt_per_tensor ? "--quant-per-tensor" : options, checkpoint);
  const std::vector<NamedQuantizer> from = collected->named_quantizers();
  std::vector<NamedQuantizer> quantizers = built->named_quantizers();
  for (size_t i = 0; i < quantizers.size(); ++i)
    quantizers[i].quantizer->replace_amax(from[i].quantizer->amax());
  ASSERT_NO_FATAL_FAILURE(multiply_weights(*built, run));
  configure_model(*built, quant_options(configure.options));
  if (ranges) {
    testing::expect_ranges(
        *built, *collected, *ranges,
        {[&](at::Device device) { return build(class_name, config, options, checkpoint, device); }, inputs,
         testing::request_of(options)});
    for (const NamedQuantizer& item : quantizers)
      if (const TensorView* amax = ranges->find(item.name + "._amax"))
        item.quantizer->replace_amax(tensor_of(*amax));
  }
  const Json& rows = run.at("quantizers");
  ASSERT_EQ(rows.size(), quantizers.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(quantizers[i].name, rows[i][0].get<std::string>());
    EXPECT_EQ(!quantizers[i].quantizer->disabled(), rows[i][1].get<bool>()) << quantizers[i].name;
  }
  // The original's calibrator name shows what a model was built with, which a case in words does not change.
  if (run.contains("summary_text") && !run.at("summary_text").is_null()) {
    EXPECT_EQ(quantizer_summary(*built), run.at("summary_text").get<std::string>());
  }
}

TEST(TrainGolden, CalibrationAndConfigureStep) {
  QDQBERT_NEED_TEST_DEVICE();
  testing::GoldenFamily family("configure");
  std::vector<fs::path> directories;
  for (const auto& entry : fs::directory_iterator(testing::golden_dir() / "model"))
    if (fs::exists(entry.path() / "case.json")) directories.push_back(entry.path());
  std::sort(directories.begin(), directories.end());
  for (const fs::path& directory : directories) {
    const Json golden = read_json(directory / "case.json");
    for (const Json& run : golden.at("runs")) {
      if (run.at("configure_options").is_null()) continue;
      family.run(directory.filename().string() + "/" + run.at("run").get<std::string>(),
                 [&] { run_case(directory, golden, run); });
    }
  }
}

// An original line with whole tensors says the same as ours with their smallest and largest value.
std::string with_tensors_shortened(const std::string& line) {
  static const std::regex tensor(R"(tensor\(\[([^\]]*)\]\))");
  std::string text;
  auto begin = line.cbegin();
  for (std::sregex_iterator it(line.begin(), line.end(), tensor), end; it != end; ++it) {
    text.append(begin, (*it)[0].first);
    begin = (*it)[0].second;
    std::vector<std::pair<double, std::string>> values;
    static const std::regex number(R"(\d+\.\d+)");
    const std::string list = (*it)[1];
    for (std::sregex_iterator n(list.begin(), list.end(), number); n != end; ++n)
      values.emplace_back(std::stod(n->str()), n->str());
    std::sort(values.begin(), values.end());
    text += values.size() == 1
                ? values[0].second
                : fmt::format("[{}, {}]({})", values.front().second, values.back().second, values.size());
  }
  text.append(begin, line.cend());
  return text;
}

void run_texts(const Json& file, const Json& expected, const io::SafetensorsFile& tensors) {
  const std::string options = expected.at("options");
  CapturedLog log;
  const auto built =
      build("QDQBertForQuestionAnswering", io::parse_config(file.at("config"), "option_texts"), options,
            io::Checkpoint::open(testing::golden_dir() / "model/option_texts.safetensors"));
  if (expected.at("calibrated").get<bool>()) {
    log.clear();
    QuantOptions calibration = quant_options(options);
    calibration.clip_gelu.reset();  // which the original cannot do yet at this point
    calibrate(*built, batches_of(tensors), 0, calibration);
    if (expected.contains("calibration_log")) {
      std::vector<std::string> theirs = expected.at("calibration_log"), ours = log.take({"INFO"});
      const std::vector<std::string> details = log.take({"DEBUG"});
      ours.insert(ours.begin() + 1, details.begin(), details.end());
      ASSERT_EQ(ours.size(), theirs.size());
      for (size_t i = 0; i < ours.size(); ++i) expect_same_text("INFO: " + ours[i], theirs[i]);
      expect_same_text(quantizer_summary(*built), expected.at("calibration_stdout").get<std::string>());
    }
  }
  log.clear();
  configure_model(*built, quant_options(options));
  // A line for each quantizer is a detail here.
  const std::vector<std::string> theirs = expected.at("log"), ours = log.take({"INFO", "DEBUG"});
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i)
    expect_same_text("INFO: " + ours[i], with_tensors_shortened(theirs[i]));
  // Where the original prints a warning (some with the braces of its own format string), we log one.
  std::string stdout_text = expected.at("stdout");
  static const std::regex warning(R"([^\n]*WARNING: NO AMAX BUFFER\n)");
  const auto warnings =
      std::distance(std::sregex_iterator(stdout_text.begin(), stdout_text.end(), warning), {});
  EXPECT_EQ(log.take({"WARNING"}).size(), static_cast<size_t>(warnings));
  stdout_text = std::regex_replace(stdout_text, warning, "");
  if (stdout_text.find("TensorQuantizer") != std::string::npos)
    expect_same_text(quantizer_summary(*built), stdout_text);
}

TEST(TrainGolden, OptionTexts) {
  QDQBERT_NEED_TEST_DEVICE();
  testing::GoldenFamily family("option_texts");
  const fs::path directory = testing::golden_dir() / "model";
  const Json file = read_json(directory / "option_texts.json");
  const auto tensors = io::SafetensorsFile::open(directory / "option_texts.safetensors");
  for (const Json& expected : file.at("cases"))
    family.run(fmt::format("\"{}\"", expected.at("options").get<std::string>()),
               [&] { run_texts(file, expected, tensors); });
}

}  // namespace
}  // namespace qdqbert::train
