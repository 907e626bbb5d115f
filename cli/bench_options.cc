#include "cli/bench_options.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"

namespace qdqbert::cli {

namespace {

std::optional<int64_t> parse_size(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

struct BatchShape {
  int64_t batch, seq;
};

/// "input_ids:64x128,attention_mask:64x128": every input of one shape.
BatchShape parse_shapes(const std::string& flag, const std::string& text) {
  std::optional<BatchShape> shape;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    begin = end + 1;
    // Names may hold colons; sizes do not.
    const size_t colon = item.rfind(':'), cross = item.find('x', colon == std::string::npos ? 0 : colon);
    std::optional<int64_t> batch, seq;
    if (colon != std::string::npos && cross != std::string::npos) {
      batch = parse_size(std::string_view(item).substr(colon + 1, cross - colon - 1));
      seq = parse_size(std::string_view(item).substr(cross + 1));
    }
    if (!batch || !seq)
      fail<UsageError>("[bench] --{}: \"{}\" is not NAME:BATCHxLENGTH, as in input_ids:64x128", flag, item);
    if (shape && (shape->batch != *batch || shape->seq != *seq))
      fail<UsageError>("[bench] --{}: all inputs of BERT have one shape, here are {}x{} and {}x{}", flag,
                       shape->batch, shape->seq, *batch, *seq);
    shape = BatchShape{*batch, *seq};
  }
  return *shape;
}

double parse_amount(const std::string& flag, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value >= 0 && value < 1e9))
    fail<UsageError>("[bench] --{} needs a number of 0 or more, got \"{}\"", flag, text);
  return value;
}

int64_t parse_count(const std::string& flag, const std::string& text) {
  const std::optional<int64_t> value = parse_size(text);
  if (!value) fail<UsageError>("[bench] --{} needs a number of 1 or more, got \"{}\"", flag, text);
  return *value;
}

bool speaks_trtexec(const Arguments& arguments) {
  return std::any_of(arguments.begin(), arguments.end(), [](const std::string& argument) {
    return argument == "--onnx" || argument.starts_with("--onnx=");
  });
}

/// Our own flags, which stay what they are beside trtexec's. Those in the second list take no value.
constexpr std::array<std::string_view, 10> kOurs = {"--json",      "--isa",       "--seconds", "--warmup",
                                                    "--lengths",   "--precision", "--batch",   "--seq",
                                                    "--args_file", "--args-file"};
constexpr std::array<std::string_view, 4> kOurSwitches = {"--pin", "--profile", "--like-ort-script",
                                                          "--like_ort_script"};
/// What has no meaning here and costs nothing to leave out.
constexpr std::array<std::string_view, 5> kNoEffect = {"--explicitBatch", "--workspace", "--memPoolSize",
                                                       "--buildOnly", "--useSpinWait"};

/// trtexec's words to ours. Values stand behind '=' in trtexec;
/// a word apart is taken too where a value is needed.
Arguments from_trtexec(const Arguments& arguments) {
  Arguments out;
  std::vector<std::string> ignored;
  bool int8 = false, half = false, precision = false;
  std::optional<BatchShape> shape, optimal;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals), flag = name.substr(std::min<size_t>(2, name.size()));
    const auto value = [&]() -> std::string {
      if (equals != std::string::npos) return word.substr(equals + 1);
      if (i + 1 >= arguments.size()) fail<UsageError>("[bench] {} needs a value: {}=...", name, name);
      return arguments[++i];
    };
    const auto is_in = [&](const auto& list) {
      return std::find(list.begin(), list.end(), name) != list.end();
    };
    if (name == "--onnx") {
      out.push_back(value());
    } else if (name == "--shapes") {
      shape = parse_shapes(flag, value());
    } else if (name == "--optShapes") {
      optimal = parse_shapes(flag, value());
    } else if (name == "--int8" || name == "--best") {
      int8 = true;
    } else if (name == "--fp16" || name == "--bf16") {
      half = true;
    } else if (name == "--verbose" || name == "--help" || name == "-h") {
      out.push_back(word);
    } else if (name == "--iterations") {
      out.insert(out.end(), {"--iterations", fmt::format("{}", parse_count(flag, value()))});
    } else if (name == "--avgRuns") {
      out.insert(out.end(), {"--average_runs", fmt::format("{}", parse_count(flag, value()))});
    } else if (name == "--duration") {
      out.insert(out.end(), {"--seconds", fmt::format("{}", parse_amount(flag, value()))});
    } else if (name == "--warmUp") {
      out.insert(out.end(), {"--warmup", fmt::format("{}", parse_amount(flag, value()) / 1000)});
    } else if (name == "--streams" || name == "--infStreams") {
      out.insert(out.end(), {"--streams", fmt::format("{}", parse_count(flag, value()))});
    } else if (name == "--dumpProfile") {
      out.push_back("--profile");
    } else if (name == "--threads" &&
               (equals != std::string::npos || (i + 1 < arguments.size() && parse_size(arguments[i + 1])))) {
      out.insert(out.end(), {"--threads", value()});  // a switch in trtexec, a number here
    } else if (is_in(kOurSwitches)) {
      out.push_back(word);
    } else if (is_in(kOurs)) {
      precision |= name == "--precision";
      out.insert(out.end(), {name, value()});
    } else if (is_in(kNoEffect)) {
      ignored.push_back(word);
    } else if (name.starts_with("--")) {
      ignored.push_back(word);
    } else {
      fail<UsageError>("[bench] \"{}\" is not a flag; beside --onnx=FILE no other model is taken", word);
    }
  }
  if (!shape) shape = optimal;
  if (shape)
    out.insert(out.end(),
               {"--batch", fmt::format("{}", shape->batch), "--seq", fmt::format("{}", shape->seq)});
  if (!ignored.empty()) log_warning("no effect here, ignored: {}", fmt::join(ignored, " "));
  if (precision) return out;
  if (int8 && half)
    log_info("--int8 with half precision: integer kernels wherever the file has Q/DQ pairs, FP32 elsewhere");
  if (!int8 && half) log_info("half precision is BF16 here");
  if (!int8) out.insert(out.end(), {"--precision", half ? "bf16" : "fp32"});
  return out;
}

}  // namespace

std::optional<BenchOptions> parse_bench(const Arguments& arguments) {
  BenchOptions o;
  ArgumentParser parser(
      "bench", "MODEL [flags]",
      "Measures an ONNX file: latency of a batch, throughput, memory and, with --profile, each step of the plan with its share of\n"
      "what this machine can do. Also takes the words of trtexec: --onnx=FILE --shapes=input_ids:64x128,... --int8 --fp16 --verbose\n"
      "--explicitBatch --workspace=N --iterations=N --duration=S --warmUp=MS --avgRuns=N; others "
      "of trtexec are named and ignored.");
  parser.add_positional("MODEL", o.model, "an ONNX file, or a directory with model.onnx", false);
  parser.group("load");
  parser.add("batch", o.batch, "texts of a run");
  parser.add("seq", o.seq, "tokens of a text, the longest with --lengths");
  parser.add("lengths", o.lengths,
             "mixed: lengths as the features of SQuAD have them, scaled to --seq; or a file with one "
             "length a line (default: all --seq)");
  parser.add("tokens_per_batch", o.tokens_per_batch,
             "with --lengths: as many texts a run as have so many tokens, instead of --batch");
  parser.add("seconds", o.seconds, "measure for so long");
  parser.add("warmup", o.warmup, "seconds before that, not counted");
  parser.add("iterations", o.iterations, "but at least so many runs");
  parser.add("average_runs", o.average_runs, "also print the mean of each so many runs");
  parser.add_switch(
      "like-ort-script", o.like_ort_script,
      "what ort-infer-benchmark.py does: model.onnx unless given, one warm-up and 2,000 runs of a "
      "(1, 128) batch of ones, and its lines");
  parser.group("output");
  parser.add_switch("profile", o.profile, "time of each step of the plan, from runs of its own");
  parser.add_switch("verbose", o.verbose, "show the plan before measuring");
  parser.add("json", o.json, "write all figures to this file");
  o.engine.add_to(parser, true, true);
  if (!parser.parse(speaks_trtexec(arguments) ? from_trtexec(arguments) : arguments)) return std::nullopt;
  if (o.like_ort_script) {
    if (o.model.empty()) o.model = "model.onnx";
    o.batch = 1;
    o.seq = 128;
  }
  if (o.model.empty())
    fail<UsageError>("[bench] MODEL is missing: an ONNX file, or a directory with model.onnx");
  constexpr int64_t kMost = 1 << 20;
  const auto in_range = [kMost](const char* flag, int64_t value, int64_t low) {
    if (value < low || value > kMost)
      fail<UsageError>("[bench] --{} is {}, {} to {} are possible", flag, value, low, kMost);
  };
  in_range("batch", o.batch, 1);
  in_range("seq", o.seq, 1);
  in_range("average_runs", o.average_runs, 0);
  if (o.tokens_per_batch) {
    in_range("tokens_per_batch", *o.tokens_per_batch, 1);
    if (o.lengths.empty()) fail<UsageError>("[bench] --tokens_per_batch goes with --lengths");
  }
  if (o.iterations < 1) fail<UsageError>("[bench] --iterations is {}, at least 1 is needed", o.iterations);
  if (o.seconds < 0) fail<UsageError>("[bench] --seconds is {}, 0 or more is needed", o.seconds);
  if (o.warmup < 0) fail<UsageError>("[bench] --warmup is {}, 0 or more is needed", o.warmup);
  o.engine.options();
  return o;
}

}  // namespace qdqbert::cli
