// The tokenizer configurations that golden cases name.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "qdqbert/base/error.h"
#include "qdqbert/text/tokenizer.h"

#include "tests/support/golden.h"

namespace qdqbert::text {

struct GoldenConfig {
  std::string vocabulary;
  bool lower_case = true;
  std::optional<bool> strip_accents;
  bool split_cjk = true;
};

/// "uncased", "cased" or "multi" choose vocabulary and case; each "-suffix" changes one option.
inline GoldenConfig golden_config(const std::string& name) {
  GoldenConfig config;
  size_t end = name.find('-');
  const std::string family = name.substr(0, end);
  if (family == "uncased") {
    config.vocabulary = "bert-base-uncased-vocab";
  } else if (family == "cased") {
    config.vocabulary = "bert-base-cased-vocab";
    config.lower_case = false;
  } else if (family == "multi") {
    config.vocabulary = "bert-base-multilingual-cased-vocab";
    config.lower_case = false;
  } else {
    fail("[golden] unknown tokenizer configuration {}", name);
  }
  std::string rest = end == std::string::npos ? "" : name.substr(end);
  const auto take = [&](const std::string& suffix) {
    if (!rest.starts_with(suffix)) return false;
    rest = rest.substr(suffix.size());
    return true;
  };
  while (!rest.empty()) {
    if (take("-keep-accents")) {
      config.strip_accents = false;
    } else if (take("-nolower")) {
      config.lower_case = false;
    } else if (take("-lower")) {
      config.lower_case = true;
    } else if (take("-strip")) {
      config.strip_accents = true;
    } else if (take("-nocjk")) {
      config.split_cjk = false;
    } else {
      fail("[golden] unknown tokenizer configuration {}", name);
    }
  }
  return config;
}

inline const Tokenizer& golden_tokenizer(const std::string& name, Side truncation = Side::kRight,
                                         Side padding = Side::kRight) {
  static std::map<std::tuple<std::string, Side, Side>, std::unique_ptr<Tokenizer>> made;
  auto& slot = made[{name, truncation, padding}];
  if (!slot) {
    const GoldenConfig config = golden_config(name);
    const auto path = testing::find_data(config.vocabulary);
    if (!path) fail("[golden] the vocabulary {} is not in QDQBERT_DATA_DIR", config.vocabulary);
    TokenizerOptions options;
    options.lower_case = config.lower_case;
    options.strip_accents = config.strip_accents;
    options.split_cjk = config.split_cjk;
    options.truncation_side = truncation;
    options.padding_side = padding;
    slot = std::make_unique<Tokenizer>(Tokenizer::from_vocabulary(*path, options));
  }
  return *slot;
}

}  // namespace qdqbert::text
