// qdqbert inspect: what a model directory or an ONNX file holds. Never loads LibTorch.
#include "cli/inspect.h"

#include <cstdio>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/io/hub_cache.h"

#include "cli/arguments.h"

namespace qdqbert::cli {

int run_inspect(const Arguments& arguments) {
  std::string model, revision = "main";
  std::optional<std::string> json;
  bool all = false;
  ArgumentParser parser(
      "inspect", "MODEL [flags]",
      "Shows the configuration of a model directory, its weights, and its quantizers with their ranges.");
  parser.add_positional("MODEL", model,
                        "a checkpoint directory, or a name that is in the Hugging Face cache");
  parser.add("model_revision", revision, "branch, tag or commit of a cached name");
  parser.add_switch("all", all, "every quantizer instead of those of the first layer");
  parser.add("json", json, "write the facts to this file, quantizers in full");
  if (!parser.parse(arguments)) return 0;
  const std::filesystem::path path = io::resolve_model(model, revision);
  if (!std::filesystem::is_directory(path)) fail("[inspect] {} is not a checkpoint directory", path.string());
  const Json facts = inspect_checkpoint(path);
  fmt::print("{}", describe_checkpoint(facts, all));
  if (json) write_file(*json, dump_json(facts) + "\n");
  return 0;
}

}  // namespace qdqbert::cli
