#include "qdqbert/io/checkpoint.h"

#include <cmath>
#include <cstring>
#include <set>

#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/mapped_file.h"
#include "qdqbert/io/element_types.h"
#include "qdqbert/io/refuse.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/io/torch_pickle.h"

namespace qdqbert::io {

namespace fs = std::filesystem;

std::optional<fs::path> find_weight_file(const fs::path& directory) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json"})
    if (fs::exists(directory / name)) return directory / name;
  return std::nullopt;
}

namespace {

/// A clone without Git LFS leaves a small text file in place of the weights.
void refuse_lfs_pointer(const fs::path& path) {
  constexpr std::string_view kStart = "version https://git-lfs";
  const auto mapping = MappedFile::open(path);
  const auto bytes = mapping->bytes();
  if (bytes.size() >= kStart.size() && std::memcmp(bytes.data(), kStart.data(), kStart.size()) == 0)
    refuse("[checkpoint] {} is a Git LFS pointer, not the weights; fetch them with `git lfs pull`",
           path.string());
}

bool starts_as_zip(const fs::path& path) {
  const auto mapping = MappedFile::open(path);
  return mapping->bytes().size() >= 4 && std::memcmp(mapping->bytes().data(), "PK\x03\x04", 4) == 0;
}

TensorSet open_file(const fs::path& path) {
  if (!fs::is_regular_file(path)) refuse("[checkpoint] there is no file {}", path.string());
  refuse_lfs_pointer(path);
  const std::string extension = path.extension().string();
  if (extension == ".h5" || extension == ".ckpt" || extension == ".msgpack")
    refuse("[checkpoint] {}: TensorFlow and Flax checkpoints are not read; convert it to model.safetensors",
           path.string());
  const bool torch = extension == ".bin" || extension == ".pt" || extension == ".pth" ||
                     (extension != ".safetensors" && starts_as_zip(path));
  if (torch) return read_torch_pickle(path);
  const SafetensorsFile file = SafetensorsFile::open(path);
  TensorSet set;
  for (const auto& [name, tensor] : file.tensors()) set.add(name, tensor);
  set.keep(std::make_shared<SafetensorsFile>(file));
  return set;
}

TensorSet open_index(const fs::path& path) {
  if (!fs::is_regular_file(path)) refuse("[checkpoint] there is no file {}", path.string());
  const Json index = read_json(path);
  const Json& map = require(index, "weight_map", Json::value_t::object, path.string());
  std::set<std::string> shards;
  for (const auto& [name, shard] : map.items()) {
    if (!shard.is_string())
      refuse("[checkpoint] {}: the file of \"{}\" must be a string", path.string(), name);
    const std::string file = shard.get<std::string>();
    if (file.empty() || fs::path(file).filename().string() != file || file == "." || file == "..")
      refuse("[checkpoint] {}: \"{}\" of tensor \"{}\" is not a file name in the same directory",
             path.string(), file, name);
    shards.insert(file);
  }
  TensorSet all;
  for (const std::string& shard : shards) {
    const fs::path file = path.parent_path() / shard;
    if (!fs::is_regular_file(file))
      refuse("[checkpoint] {} names the shard {}, which is absent", path.string(), shard);
    TensorSet tensors = open_file(file);
    for (const auto& [name, named] : map.items())
      if (named.get_ref<const std::string&>() == shard && !tensors.find(name))
        refuse("[checkpoint] {} says that the tensor \"{}\" is in {}, which does not have it", path.string(),
               name, shard);
    all.append(std::move(tensors), file.string());
  }
  return all;
}

fs::path weight_file_in(const fs::path& directory) {
  if (const auto file = find_weight_file(directory)) return *file;
  for (const char* name : {"tf_model.h5", "model.ckpt.index", "bert_model.ckpt.index", "flax_model.msgpack"})
    if (fs::exists(directory / name))
      refuse(
          "[checkpoint] {} holds only {}: TensorFlow and Flax checkpoints are not read; "
          "convert it to model.safetensors",
          directory.string(), name);
  refuse("[checkpoint] {} has neither model.safetensors nor pytorch_model.bin, nor the index file of one",
         directory.string());
}

DType element_type(SaveDType dtype) {
  return dtype == SaveDType::kFloat16    ? DType::kF16
         : dtype == SaveDType::kBFloat16 ? DType::kBF16
                                         : DType::kF32;
}

OwnedTensor converted(const NamedTensor& source, DType dtype) {
  const std::vector<float> values = to_float32(source.tensor);
  if (dtype == DType::kF32) return make_tensor(source.tensor.shape, values);
  OwnedTensor out{dtype, source.tensor.shape, std::vector<std::byte>(values.size() * 2)};
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = dtype == DType::kF16 ? float_to_half(values[i]) : float_to_bfloat16(values[i]);
    if (dtype == DType::kF16 && (bits & 0x7fffu) == 0x7c00u && std::isfinite(values[i]))
      refuse("[checkpoint] {}: the value {} does not fit float16 (largest 65504); save as bf16 or f32",
             source.name, values[i]);
    std::memcpy(out.data.data() + 2 * i, &bits, 2);
  }
  return out;
}

}  // namespace

Checkpoint Checkpoint::open(const fs::path& path) {
  Checkpoint checkpoint;
  if (!fs::exists(path)) refuse("[checkpoint] {} does not exist", path.string());
  checkpoint.file_ = fs::is_directory(path) ? weight_file_in(path) : path;
  checkpoint.set_ = checkpoint.file_.string().ends_with(".index.json") ? open_index(checkpoint.file_)
                                                                       : open_file(checkpoint.file_);
  return checkpoint;
}

const TensorView& Checkpoint::at(std::string_view name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  refuse("[checkpoint] {} has no tensor \"{}\"", file_.string(), name);
}

SaveDType parse_save_dtype(std::string_view text) {
  for (const std::string_view name : {"f32", "fp32", "float32"})
    if (text == name) return SaveDType::kFloat32;
  for (const std::string_view name : {"f16", "fp16", "float16", "half"})
    if (text == name) return SaveDType::kFloat16;
  for (const std::string_view name : {"bf16", "bfloat16"})
    if (text == name) return SaveDType::kBFloat16;
  fail<UsageError>("[save_dtype] \"{}\" is unknown; known are f32, f16 and bf16", text);
}

void save_checkpoint(const fs::path& directory, std::span<const NamedTensor> tensors,
                     const BertConfig& config, const SaveOptions& options) {
  ensure_writable_directory(directory);
  const DType target = element_type(options.dtype);
  std::vector<OwnedTensor> owned;
  owned.reserve(tensors.size());
  std::vector<NamedTensor> out;
  for (const NamedTensor& tensor : tensors) {
    const DType wanted = tensor.name.ends_with("._amax") ? DType::kF32 : target;
    if (is_floating(tensor.tensor.dtype) && tensor.tensor.dtype != wanted) {
      owned.push_back(converted(tensor, wanted));
      out.push_back({tensor.name, owned.back().view()});
    } else {
      out.push_back(tensor);
    }
  }
  BertConfig saved = config;
  saved.torch_dtype = target == DType::kF16 ? "float16" : target == DType::kBF16 ? "bfloat16" : "float32";
  write_safetensors(directory / "model.safetensors", out, {{"format", "pt"}});
  write_config(directory / "config.json", saved);
}

}  // namespace qdqbert::io
