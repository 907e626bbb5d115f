// TensorProto messages as tensors: views where the elements lie in the file,
// or beside it, as they are needed.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "qdqbert/base/mapped_file.h"
#include "qdqbert/engine/graph.h"
#include "qdqbert/engine/wire.h"

namespace qdqbert::engine {

/// More dimensions than any operator has; a hostile shape may have as many as the file has bytes.
inline constexpr size_t kHighestRank = 64;

/// The DType of an ONNX element type (TensorProto::DataType). Throws InputError for those that have none;
/// `what` stands in the message.
DType dtype_of_onnx(int64_t onnx_type, std::string_view what);

class TensorReader {
 public:
  /// `name`: the model file's, for messages. `owner` keeps the messages alive that tensors are read from; if
  /// they lie in `mapping` (may be null), its pages are given back once elements were copied out of them.
  /// External data is searched in `directory`.
  TensorReader(std::string name, std::filesystem::path directory, std::shared_ptr<const void> owner,
               const MappedFile* mapping);

  /// Name and tensor of one TensorProto; `where` and the name stand for it in messages. raw_data and external
  /// data stay where they are, or are copied when that is no multiple of the element size; typed fields are
  /// converted. Throws InputError as import_onnx says.
  std::pair<std::string, Tensor> read(std::span<const std::byte> message, const std::string& where);

  /// External data files that were mapped.
  std::vector<std::shared_ptr<const MappedFile>> files() const {
    std::vector<std::shared_ptr<const MappedFile>> all;
    for (const auto& [location, file] : files_) all.push_back(file);
    return all;
  }

 private:
  struct Fields;
  Fields read_fields(std::span<const std::byte> message, const std::string& where) const;
  Tensor typed(const Fields& fields, DType dtype, const std::string& what) const;
  Tensor external(const Fields& fields, DType dtype, uint64_t expected, const std::string& what);
  Tensor in_place_or_copied(DType dtype, const Shape& shape, std::span<const std::byte> bytes,
                            std::shared_ptr<const void> owner, const MappedFile* mapping);

  std::string name_;
  std::filesystem::path directory_;
  std::shared_ptr<const void> owner_;
  const MappedFile* mapping_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
  size_t copied_ = 0;  ///< bytes since pages were last given back
};

}  // namespace qdqbert::engine
