#include "qdqbert/io/name_map.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "qdqbert/io/refuse.h"
#include "qdqbert/io/wrapper_names.h"

namespace qdqbert::io {

namespace {

constexpr std::string_view kBase = "bert";
constexpr std::string_view kBaseDot = "bert.";
constexpr std::string_view kRange = "._amax";

std::string replaced(std::string name, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = name.find(from, at)) != std::string::npos; at += to.size())
    name.replace(at, from.size(), to);
  return name;
}

/// Translates the model's names to the prefix convention of the checkpoint.
class Prefix {
 public:
  Prefix(bool file_has_it, bool model_has_it)
      : strip_(!file_has_it && model_has_it), add_(file_has_it && !model_has_it) {}

  std::string in_checkpoint(const std::string& model_name) const {
    if (add_) return std::string(kBaseDot) + model_name;
    if (strip_ && model_name.starts_with(kBaseDot)) return model_name.substr(kBaseDot.size());
    return model_name;
  }
  /// True when only the base model's part of a model with a head can come from this checkpoint.
  bool base_only() const { return strip_; }

 private:
  bool strip_, add_;
};

bool same_or_one_element(const Shape& a, const Shape& b) {
  return a == b || (element_count(a) == 1 && element_count(b) == 1);
}

constexpr size_t kMostNames = 10;

std::string more_than_shown(size_t count) {
  return count > kMostNames ? fmt::format(" and {} more", count - kMostNames) : std::string();
}

/// "12: ['a', 'b', ...] and 2 more"
std::string counted_list(const std::vector<std::string>& names) {
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), kMostNames); ++i)
    list += fmt::format("{}'{}'", list.empty() ? "" : ", ", names[i]);
  return fmt::format("{}: [{}]{}", names.size(), list, more_than_shown(names.size()));
}

}  // namespace

std::string modern_name(const std::string& name) {
  if (name.find("beta") != std::string::npos) return replaced(name, "beta", "bias");
  return replaced(name, "gamma", "weight");
}

LoadPlan plan_load(std::span<const NamedTensor> checkpoint, const ModelNames& model,
                   bool ignore_mismatched_sizes) {
  std::unordered_map<std::string, std::string> loaded;  // modern name -> name in the file
  bool file_has_prefix = false;
  for (const auto& entry : checkpoint) {
    const auto [at, added] = loaded.emplace(modern_name(unwrapped_name(entry.name)), entry.name);
    if (!added)
      refuse("[load] the checkpoint's \"{}\" and \"{}\" are both \"{}\" under their current name", at->second,
             entry.name, at->first);
    file_has_prefix = file_has_prefix || at->first.starts_with(kBase);
  }
  const bool model_has_prefix = std::any_of(model.tensors.begin(), model.tensors.end(),
                                            [](const auto& t) { return t.name.starts_with(kBase); });
  const Prefix prefix(file_has_prefix, model_has_prefix);

  std::unordered_map<std::string, const ExpectedTensor*> expected;  // name in the checkpoint's convention
  std::unordered_set<std::string> head;
  for (const ExpectedTensor& tensor : model.tensors) {
    expected.emplace(prefix.in_checkpoint(tensor.name), &tensor);
    if (prefix.base_only() && !tensor.name.starts_with(kBaseDot)) head.insert(tensor.name);
  }
  std::unordered_map<std::string, std::string> ranges;  // name in the checkpoint's convention -> the model's
  for (const std::string& path : model.quantizers)
    ranges.emplace(prefix.in_checkpoint(path) + std::string(kRange), path + std::string(kRange));

  LoadPlan plan;
  for (const auto& [file_name, tensor] : checkpoint) {
    const std::string name = modern_name(unwrapped_name(file_name));
    if (head.count(name))
      refuse(
          "[load] the checkpoint has \"{}\" of the head, but its other names lack the prefix "
          "\"{}\": it was not saved by {}",
          name, kBaseDot, model.class_name);
    if (const auto range = ranges.find(name); range != ranges.end()) {
      plan.matches.push_back({range->second, file_name, tensor});
      plan.report.ranges.push_back(name);
    } else if (const auto found = expected.find(name); found != expected.end()) {
      const ExpectedTensor& wanted = *found->second;
      const bool fits = name.ends_with(kRange) ? same_or_one_element(tensor.shape, wanted.shape)
                                               : tensor.shape == wanted.shape;
      if (fits) {
        plan.matches.push_back({wanted.name, file_name, tensor});
      } else {
        plan.report.mismatched.push_back({name, tensor.shape, wanted.shape});
      }
    } else if (!name.ends_with("embeddings.position_ids") && !name.ends_with("embeddings.token_type_ids")) {
      plan.report.unexpected.push_back(name);
    }
  }

  std::set<std::string> missing;
  for (const auto& [name, tensor] : expected)
    if (!loaded.contains(name) && !ranges.contains(name)) missing.insert(name);
  for (const auto& group : model.tied) {
    const bool any_loaded = std::any_of(group.begin(), group.end(), [&](const std::string& name) {
      return loaded.count(prefix.in_checkpoint(name)) > 0;
    });
    if (any_loaded)
      for (const std::string& name : group) missing.erase(prefix.in_checkpoint(name));
  }
  plan.report.missing.assign(missing.begin(), missing.end());
  std::sort(plan.report.unexpected.begin(), plan.report.unexpected.end());
  std::sort(plan.report.ranges.begin(), plan.report.ranges.end());
  std::sort(plan.report.mismatched.begin(), plan.report.mismatched.end(),
            [](const Mismatch& a, const Mismatch& b) { return a.name < b.name; });

  if (!plan.report.mismatched.empty() && !ignore_mismatched_sizes) {
    const Mismatch& first = plan.report.mismatched.front();
    const size_t others = plan.report.mismatched.size() - 1;
    refuse("[load] {}: {} has the shape {} in the checkpoint, the model needs {}{}", model.class_name,
           first.name, to_string(first.checkpoint_shape), to_string(first.model_shape),
           others ? fmt::format(" (and {} more tensors differ)", others) : std::string());
  }
  return plan;
}

void require_encoder(const LoadReport& report, std::string_view class_name, std::string_view where) {
  std::vector<std::string> random;
  for (const std::string& name : report.missing)
    if (is_encoder_tensor(name)) random.push_back(name);
  for (const Mismatch& mismatch : report.mismatched)
    if (is_encoder_tensor(mismatch.name)) random.push_back(mismatch.name);
  if (random.empty()) return;
  const std::string left = report.unexpected.empty()
                               ? std::string()
                               : fmt::format(", but it has {} that no {} has, like {}",
                                             report.unexpected.size(), class_name, report.unexpected.front());
  refuse(
      "[load] {} lacks {} tensors of the encoder, like {}{}; what they would be is random: give a BERT checkpoint, "
      "or --allow_random_encoder to train it",
      where, random.size(), random.front(), left);
}

std::vector<std::string> warnings(const LoadReport& report, std::string_view class_name,
                                  std::string_view where) {
  std::vector<std::string> lines;
  if (!report.unexpected.empty())
    lines.push_back(fmt::format(
        "Some weights of the model checkpoint at {} were not used when initializing {}, {}. This is normal "
        "when the checkpoint comes from another task, and a fault when it should be the same.",
        where, class_name, counted_list(report.unexpected)));
  if (!report.missing.empty())
    lines.push_back(
        fmt::format("Some weights of {} were not initialized from the model checkpoint at {} and are newly "
                    "initialized, {}. Train the model before relying on what it predicts.",
                    class_name, where, counted_list(report.missing)));
  if (!report.mismatched.empty()) {
    std::string list;
    for (size_t i = 0; i < std::min(report.mismatched.size(), kMostNames); ++i) {
      const Mismatch& mismatch = report.mismatched[i];
      list +=
          fmt::format("{}{}: {} in the checkpoint, {} in the model", list.empty() ? "" : "; ", mismatch.name,
                      to_string(mismatch.checkpoint_shape), to_string(mismatch.model_shape));
    }
    list = fmt::format("{}: {}{}", report.mismatched.size(), list, more_than_shown(report.mismatched.size()));
    lines.push_back(fmt::format(
        "Some weights of {} were not initialized from the model checkpoint at {} and are newly initialized "
        "because the shapes did not match, {}. Train the model before relying on what it predicts.",
        class_name, where, list));
  }
  return lines;
}

}  // namespace qdqbert::io
