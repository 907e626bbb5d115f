// A golden model case in one of its runs, described for the graph writer without LibTorch.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "qdqbert/base/json.h"
#include "qdqbert/io/bert_config.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/onnx/bert_graph.h"

namespace qdqbert::testing {

class GoldenBert {
 public:
  /// `run`: one of the case's runs.
  GoldenBert(const std::filesystem::path& directory, const Json& description, const Json& run);
  /// Nothing when a Q/DQ pair cannot say what a quantizer of this run does:
  /// other widths, ranges of each batch.
  std::optional<onnx::BertSource> source() const;
  const io::BertConfig& config() const { return config_; }

 private:
  io::BertConfig config_;
  io::SafetensorsFile weights_;
  std::map<std::string, onnx::QuantizerRange> ranges_;
  std::string class_name_;
  bool expressible_ = true;
};

}  // namespace qdqbert::testing
