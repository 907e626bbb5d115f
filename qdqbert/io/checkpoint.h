// Checkpoint directories as Hugging Face lays them out: one weight file or
// several shards beside a config.json.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/io/bert_config.h"
#include "qdqbert/io/tensor_set.h"

namespace qdqbert::io {

/// The weight or index file of a directory: model.safetensors, model.safetensors.index.json,
/// pytorch_model.bin or pytorch_model.bin.index.json, the first there is.
std::optional<std::filesystem::path> find_weight_file(const std::filesystem::path& directory);

/// All tensors of a checkpoint under the names of its files. Copies share the mappings,
/// which live as long as a copy does.
class Checkpoint {
 public:
  /// `path` is a weight file, an index file, or a directory that find_weight_file() looks into.
  /// Throws InputError when nothing is found, a shard is absent or wrong, or the format is
  /// one that is not read (TensorFlow, Flax).
  static Checkpoint open(const std::filesystem::path& path);

  const std::vector<NamedTensor>& tensors() const { return set_.tensors(); }
  /// nullptr when there is no such tensor.
  const TensorView* find(std::string_view name) const { return set_.find(name); }
  /// Throws InputError naming the checkpoint and the tensor when there is no such tensor.
  const TensorView& at(std::string_view name) const;
  /// The weight or index file that was opened.
  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
  TensorSet set_;
};

/// Element type of the floating-point weights on disk.
enum class SaveDType { kFloat32, kFloat16, kBFloat16 };

/// "f32"/"float32"/"fp32", "f16"/..., "bf16"/...; throws UsageError for anything else.
SaveDType parse_save_dtype(std::string_view text);

struct SaveOptions {
  SaveDType dtype = SaveDType::kFloat32;
};

/// Writes model.safetensors (metadata {format: pt}) and config.json into `directory`, which is created;
/// `torch_dtype` in the file says the saved type. Floating-point tensors are converted to options.dtype,
/// except ranges (`*._amax`), which stay float32: rounding them would change the quantized model. Both files
/// go through AtomicFile. Throws InputError when a finite value does not fit float16, SystemError when the
/// disk refuses; what was there before then survives.
void save_checkpoint(const std::filesystem::path& directory, std::span<const NamedTensor> tensors,
                     const BertConfig& config, const SaveOptions& options = {});

}  // namespace qdqbert::io
