// From the states of a text's tokens to one vector, as sentence-transformers' modules make it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace qdqbert::tasks {

enum class Pooling { kCls, kMax, kMean, kMeanSqrtLength, kWeightedMean, kLastToken };

/// Names of the library: "cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken".
const std::vector<std::string>& pooling_names();
std::string_view name_of(Pooling pooling);
std::optional<Pooling> pooling_named(std::string_view name);

/// A linear layer behind pooling.
struct DenseLayer {
  enum class Activation { kIdentity, kTanh, kRelu, kRelu6, kLeakyRelu, kGelu, kSilu, kSigmoid };
  size_t in = 0, out = 0;
  std::vector<float> weight;  ///< [out][in]
  std::vector<float> bias;    ///< [out], or none
  Activation activation = Activation::kTanh;
};

/// Brings the vector to length 1.
struct Normalize {};

struct SentenceModel {
  std::vector<Pooling> pooling = {Pooling::kMean};  ///< several stand behind each other in the vector
  bool include_prompt = true;                       ///< tokens of the prompt count in pooling
  std::vector<std::variant<DenseLayer, Normalize>> steps = {Normalize{}};
  std::optional<int64_t> max_seq_length;
  bool lower_case = false;  ///< texts are lowercased, whatever the tokenizer does
  std::map<std::string, std::string> prompts;
  std::optional<std::string> default_prompt;

  /// The text of a prompt by name, of the default where no name is given; "" for the name "". Throws UsageError
  /// with the names that there are.
  std::string prompt(const std::optional<std::string>& name) const;
  /// Numbers of a vector over states of `columns`. Throws InputError where the layers do not fit each other.
  size_t width(size_t columns) const;
};

/// `states`: [rows][columns], a row for each token of the text, padding left out. `prompt_tokens`: how many of the
/// first rows belong to [CLS] and the prompt; they are left out of pooling unless include_prompt. Sums in float64.
std::vector<float> embed_sentence(const SentenceModel& model, std::span<const float> states, size_t columns,
                                  size_t prompt_tokens = 0);

}  // namespace qdqbert::tasks
