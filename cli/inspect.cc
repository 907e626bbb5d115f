// qdqbert inspect: what a model directory or an ONNX file holds. Never loads LibTorch.
#include "cli/inspect.h"

#include <cstdio>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/io/checkpoint.h"
#include "qdqbert/io/hub_cache.h"
#include "qdqbert/pipeline/model_files.h"

#include "cli/arguments.h"
#include "cli/engine_flags.h"
#include "cli/plan_report.h"

namespace qdqbert::cli {

int run_inspect(const Arguments& arguments) {
  std::string model, revision = "main";
  std::optional<std::string> json;
  bool all = false, plan = false, graph = false;
  EngineFlags engine;
  ArgumentParser parser("inspect", "MODEL [flags]",
                        "Shows what a model holds. Of a checkpoint directory: its shape, weights, and "
                        "quantizers with their ranges. Of an ONNX\n"
                        "file: its inputs, outputs and operators, its Q/DQ pairs, and what TensorRT "
                        "and ONNX Runtime make of each.");
  parser.add_positional("MODEL", model,
                        "a checkpoint directory, an .onnx file or the directory of an export, or a name "
                        "that is in the Hugging Face cache");
  parser.add("model_revision", revision, "branch, tag or commit of a cached name");
  parser.add_switch("all", all, "every quantizer instead of those of the first layer");
  parser.add_switch("plan", plan,
                    "how the engine runs an ONNX file: each step with its kernel, and why not a better one");
  parser.add_switch("graph", graph, "the graph that the engine runs, after fusion");
  parser.add("json", json, "write the facts to this file, quantizers in full");
  engine.add_to(parser, true, false);
  if (!parser.parse(arguments)) return 0;
  if (plan || graph) {
    const engine::Session session(pipeline::find_onnx_file(model), engine.options());
    if (plan) fmt::print("{}", describe_plan(session));
    if (graph) fmt::print("{}{}", plan ? "\n" : "", session.fused_graph());
    if (json) {
      Json facts = plan_facts(session);
      if (graph) facts["graph"] = session.fused_graph();
      write_file(*json, dump_json(facts) + "\n");
    }
    return 0;
  }
  std::filesystem::path path = io::resolve_model(model, revision);
  // What --save_onnx wrote into an empty directory is an export without a checkpoint.
  if (std::filesystem::is_regular_file(path / "model.onnx") && !io::find_weight_file(path))
    path /= "model.onnx";
  const bool directory = std::filesystem::is_directory(path);
  if (!directory && path.extension() != ".onnx")
    fail("[inspect] {} is neither a checkpoint directory nor an .onnx file", path.string());
  const Json facts = directory ? inspect_checkpoint(path) : inspect_onnx(path);
  fmt::print("{}", directory ? describe_checkpoint(facts, all) : describe_onnx(facts, all));
  if (json) write_file(*json, dump_json(facts) + "\n");
  return 0;
}

}  // namespace qdqbert::cli
