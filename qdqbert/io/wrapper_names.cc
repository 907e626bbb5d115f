#include "qdqbert/io/wrapper_names.h"

#include <algorithm>
#include <array>

namespace qdqbert::io {

namespace {

constexpr std::array<std::string_view, 4> kInFront = {"module.", "model.", "auto_model.", "0.auto_model."};
constexpr std::array<std::string_view, 4> kAnywhere = {
    "_orig_mod.", "_forward_module.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."};

/// Takes a part of a dotted name away wherever it stands.
void erase_part(std::string& name, std::string_view part) {
  for (size_t at = 0; (at = name.find(part, at)) != std::string::npos;) {
    if (at == 0 || name[at - 1] == '.')
      name.erase(at, part.size());
    else
      at += part.size();
  }
}

}  // namespace

std::string unwrapped_name(std::string_view name) {
  std::string own(name);
  for (const std::string_view part : kAnywhere) erase_part(own, part);
  for (bool changed = true; changed;) {
    changed = false;
    for (const std::string_view front : kInFront)
      if (own.starts_with(front)) {
        own.erase(0, front.size());
        changed = true;
      }
  }
  return own;
}

bool is_encoder_tensor(std::string_view name) {
  if (name.starts_with("bert.")) name.remove_prefix(std::string_view("bert.").size());
  return (name.starts_with("embeddings.") || name.starts_with("encoder.")) &&
         name.find(".crossattention.") == std::string_view::npos;
}

}  // namespace qdqbert::io
