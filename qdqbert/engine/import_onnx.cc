#include "qdqbert/engine/import_onnx.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <map>
#include <queue>
#include <unordered_map>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file_beside.h"
#include "qdqbert/base/mapped_file.h"
#include "qdqbert/engine/wire.h"

namespace qdqbert::engine {

namespace {

namespace fs = std::filesystem;
using Bytes = std::span<const std::byte>;

constexpr int64_t kOldestOpset = 11, kNewestOpset = 23;
/// Far more than any BERT has; keeps a hostile file from filling memory with empty nodes.
constexpr size_t kMostNodes = size_t{1} << 20;

// Field numbers of onnx.proto3.
namespace field {
constexpr uint32_t kModelGraph = 7, kModelOpset = 8;
constexpr uint32_t kOpsetDomain = 1, kOpsetVersion = 2;
constexpr uint32_t kGraphNode = 1, kGraphInitializer = 5, kGraphInput = 11, kGraphOutput = 12, kGraphSparse = 15;
constexpr uint32_t kNodeInput = 1, kNodeOutput = 2, kNodeName = 3, kNodeOp = 4, kNodeAttribute = 5, kNodeDomain = 7;
constexpr uint32_t kAttributeName = 1, kAttributeF = 2, kAttributeI = 3, kAttributeS = 4, kAttributeT = 5,
                   kAttributeG = 6, kAttributeFloats = 7, kAttributeInts = 8, kAttributeStrings = 9,
                   kAttributeTensors = 10, kAttributeGraphs = 11, kAttributeType = 20, kAttributeRef = 21,
                   kAttributeSparse = 22;
constexpr uint32_t kTensorDims = 1, kTensorType = 2, kTensorFloats = 4, kTensorInts = 5, kTensorLongs = 7,
                   kTensorName = 8, kTensorRaw = 9, kTensorDoubles = 10, kTensorExternal = 13, kTensorLocation = 14;
constexpr uint32_t kEntryKey = 1, kEntryValue = 2;
constexpr uint32_t kValueName = 1, kValueType = 2, kTypeTensor = 1, kTensorTypeElement = 1, kTensorTypeShape = 2,
                   kShapeDimension = 1, kDimensionValue = 1;
}  // namespace field

std::optional<DType> dtype_of(int64_t onnx_type) {
  switch (onnx_type) {
    case 1:
      return DType::kF32;
    case 2:
      return DType::kU8;
    case 3:
      return DType::kI8;
    case 5:
      return DType::kI16;
    case 6:
      return DType::kI32;
    case 7:
      return DType::kI64;
    case 9:
      return DType::kBool;
    case 10:
      return DType::kF16;
    case 11:
      return DType::kF64;
    case 16:
      return DType::kBF16;
    default:
      return std::nullopt;
  }
}

/// Repeated numbers: one by one, or packed into one field.
void add_varints(const WireField& field, const std::string& what, std::vector<int64_t>& to) {
  if (field.type != 2) {
    to.push_back(field.integer());
    return;
  }
  WireReader packed(field.bytes, what);
  while (!packed.at_end()) to.push_back(static_cast<int64_t>(packed.varint()));
}

template <class T>
void add_fixed(const WireField& field, const std::string& what, std::vector<T>& to) {
  Bytes bytes = field.bytes;
  if (field.type != 2) bytes = {reinterpret_cast<const std::byte*>(&field.value), sizeof(T)};
  if (bytes.size() % sizeof(T) != 0) fail("[onnx] {}: {} bytes of packed numbers", what, bytes.size());
  const size_t before = to.size();
  to.resize(before + bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(to.data() + before, bytes.data(), bytes.size());
}

template <class From, class To>
void narrow(const std::vector<From>& from, std::vector<std::byte>& to) {
  to.resize(from.size() * sizeof(To));
  for (size_t i = 0; i < from.size(); ++i) {
    const To value = static_cast<To>(from[i]);
    std::memcpy(to.data() + i * sizeof(To), &value, sizeof(To));
  }
}

class Importer {
 public:
  Importer(std::string name, fs::path directory, std::shared_ptr<const void> owner)
      : name_(std::move(name)), directory_(std::move(directory)), owner_(std::move(owner)) {
    graph_.name = name_;
  }

  Graph import(Bytes bytes) {
    Bytes graph;
    bool found = false;
    WireReader model(bytes, name_);
    WireField f;
    while (model.next(f)) {
      if (f.number == field::kModelGraph && f.type == 2) {
        graph = f.bytes;
        found = true;
      } else if (f.number == field::kModelOpset && f.type == 2) {
        read_opset(f.bytes);
      }
    }
    if (!found) fail("[onnx] {} has no graph; is it an ONNX file?", name_);
    const auto main = opsets_.find("");
    if (main == opsets_.end()) fail("[onnx] {} does not say which opset it needs", name_);
    if (main->second < kOldestOpset || main->second > kNewestOpset)
      fail("[onnx] {} needs opset {}; {} to {} are understood", name_, main->second, kOldestOpset, kNewestOpset);
    read_graph(graph);
    sort_nodes();
    return std::move(graph_);
  }

 private:
  void read_opset(Bytes bytes) {
    WireReader reader(bytes, name_);
    WireField f;
    std::string domain;
    int64_t version = 0;
    while (reader.next(f)) {
      if (f.number == field::kOpsetDomain && f.type == 2) domain = f.text();
      if (f.number == field::kOpsetVersion && f.type == 0) version = f.integer();
    }
    if (domain == "ai.onnx") domain.clear();
    opsets_[domain] = version;
  }

  ValueId value_of(std::string_view name) {
    const auto [entry, is_new] = ids_.try_emplace(std::string(name), kNoValue);
    if (is_new) entry->second = graph_.add_value(std::string(name));
    return entry->second;
  }

  void read_graph(Bytes bytes) {
    std::vector<Bytes> nodes, inputs, outputs;
    WireReader reader(bytes, name_);
    WireField f;
    while (reader.next(f)) {
      if (f.type != 2) continue;
      if (f.number == field::kGraphInitializer) {
        auto [name, tensor] = read_tensor(f.bytes, "initializer", true);
        const ValueId id = value_of(name);
        if (graph_.values[id].constant) fail("[onnx] {}: two initializers are named {}", name_, name);
        graph_.values[id].constant = std::move(tensor);
      } else if (f.number == field::kGraphNode) {
        nodes.push_back(f.bytes);
        if (nodes.size() > kMostNodes) fail("[onnx] {} has more than {} nodes", name_, kMostNodes);
      } else if (f.number == field::kGraphInput) {
        inputs.push_back(f.bytes);
      } else if (f.number == field::kGraphOutput) {
        outputs.push_back(f.bytes);
      } else if (f.number == field::kGraphSparse) {
        fail("[onnx] {} has sparse tensors, which are not read", name_);
      }
    }
    for (const Bytes input : inputs) {
      const ValueId id = read_value_info(input);
      if (graph_.is_constant(id)) continue;  // a default value; old files list every initializer
      if (std::find(graph_.inputs.begin(), graph_.inputs.end(), id) != graph_.inputs.end())
        fail("[onnx] {}: two inputs are named {}", name_, graph_.values[id].name);
      graph_.inputs.push_back(id);
    }
    for (const Bytes node : nodes) read_node(node);
    for (const Bytes output : outputs) graph_.outputs.push_back(read_value_info(output));
    if (graph_.outputs.empty()) fail("[onnx] {} has no outputs", name_);
  }

  ValueId read_value_info(Bytes bytes) {
    WireReader reader(bytes, name_);
    WireField f;
    std::string name;
    Bytes type;
    while (reader.next(f)) {
      if (f.number == field::kValueName && f.type == 2) name = f.text();
      if (f.number == field::kValueType && f.type == 2) type = f.bytes;
    }
    if (name.empty()) fail("[onnx] {}: a graph input or output has no name", name_);
    const ValueId id = value_of(name);
    WireReader types(type, name_);
    while (types.next(f))
      if (f.number == field::kTypeTensor && f.type == 2) read_tensor_type(f.bytes, id);
    return id;
  }

  void read_tensor_type(Bytes bytes, ValueId id) {
    WireReader reader(bytes, name_);
    WireField f;
    while (reader.next(f)) {
      if (f.number == field::kTensorTypeElement && f.type == 0) graph_.values[id].dtype = dtype_of(f.integer());
      if (f.number != field::kTensorTypeShape || f.type != 2) continue;
      Shape shape;
      WireReader dimensions(f.bytes, name_);
      WireField dimension;
      while (dimensions.next(dimension)) {
        if (dimension.number != field::kShapeDimension || dimension.type != 2) continue;
        int64_t size = -1;
        WireReader parts(dimension.bytes, name_);
        WireField part;
        while (parts.next(part))
          if (part.number == field::kDimensionValue && part.type == 0) size = part.integer();
        shape.push_back(std::max<int64_t>(size, -1));
      }
      graph_.values[id].shape = std::move(shape);
    }
  }

  void read_node(Bytes bytes) {
    Node node;
    std::string domain;
    std::vector<Bytes> attributes;
    WireReader reader(bytes, name_);
    WireField f;
    while (reader.next(f)) {
      if (f.type != 2) continue;
      if (f.number == field::kNodeInput)
        node.inputs.push_back(f.bytes.empty() ? kNoValue : value_of(f.text()));
      else if (f.number == field::kNodeOutput)
        node.outputs.push_back(f.bytes.empty() ? kNoValue : value_of(f.text()));
      else if (f.number == field::kNodeName)
        node.name = f.text();
      else if (f.number == field::kNodeOp)
        node.op = f.text();
      else if (f.number == field::kNodeAttribute)
        attributes.push_back(f.bytes);
      else if (f.number == field::kNodeDomain)
        domain = f.text();
    }
    if (domain == "ai.onnx") domain.clear();
    if (node.outputs.empty() || node.outputs[0] == kNoValue)
      fail("[onnx] {}: node {} ({}) has no output", name_, node.name, node.op);
    if (node.name.empty()) node.name = graph_.values[node.outputs[0]].name;
    if (!domain.empty()) node.op = domain + "." + node.op;
    const auto opset = opsets_.find(domain);
    if (opset == opsets_.end())
      fail("[onnx] {}: node {} ({}) is of domain {}, which the file does not import", name_, node.name, node.op,
           domain);
    node.opset = opset->second;
    for (const Bytes attribute : attributes) read_attribute(attribute, node);
    if (node.op == "Constant") {
      make_constant(node);
    } else {
      graph_.nodes.push_back(std::move(node));
    }
  }

  void read_attribute(Bytes bytes, Node& node) {
    const std::string what = name_ + ": node " + node.name + " (" + node.op + ")";
    WireReader reader(bytes, what);
    WireField f;
    std::string name;
    int64_t type = 0, integer = 0;
    float real = 0;
    std::string text;
    Bytes tensor;
    bool has_tensor = false, has_integer = false, has_real = false, has_text = false;
    std::vector<int64_t> integers;
    std::vector<float> reals;
    while (reader.next(f)) {
      switch (f.number) {
        case field::kAttributeName:
          name = f.text();
          break;
        case field::kAttributeType:
          type = f.integer();
          break;
        case field::kAttributeF: {
          const auto word = static_cast<uint32_t>(f.value);
          std::memcpy(&real, &word, sizeof(real));
          has_real = true;
          break;
        }
        case field::kAttributeI:
          integer = f.integer();
          has_integer = true;
          break;
        case field::kAttributeS:
          text = f.text();
          has_text = true;
          break;
        case field::kAttributeT:
          tensor = f.bytes;
          has_tensor = true;
          break;
        case field::kAttributeFloats:
          add_fixed(f, what, reals);
          break;
        case field::kAttributeInts:
          add_varints(f, what, integers);
          break;
        case field::kAttributeG:
        case field::kAttributeGraphs:
        case field::kAttributeTensors:
        case field::kAttributeStrings:
        case field::kAttributeRef:
        case field::kAttributeSparse:
          fail("[onnx] {}: attribute {} is a subgraph, a list of strings or tensors, or sparse, which is not read",
               what, name);
        default:
          break;
      }
    }
    Attribute value;
    if (type == 1 || (type == 0 && has_real))
      value = real;
    else if (type == 2 || (type == 0 && has_integer))
      value = integer;
    else if (type == 3 || (type == 0 && has_text))
      value = std::move(text);
    else if ((type == 4 || type == 0) && has_tensor)
      value = read_tensor(tensor, what, false).second;
    else if (type == 6 || (type == 0 && !reals.empty()))
      value = std::move(reals);
    else if (type == 7 || (type == 0 && !integers.empty()))
      value = std::move(integers);
    else
      fail("[onnx] {}: attribute {} has type {} and no value of it", what, name, type);
    if (!node.attributes.emplace(std::move(name), std::move(value)).second)
      fail("[onnx] {}: an attribute is given twice", what);
  }

  void make_constant(const Node& node) {
    Value& value = graph_.values[node.outputs[0]];
    if (value.constant) fail("[onnx] {}: {} is made twice", name_, value.name);
    if (node.attributes.size() != 1)
      fail("[onnx] {}: node {} (Constant) has {} values", name_, node.name, node.attributes.size());
    const Attribute& given = node.attributes.begin()->second;
    if (const auto* tensor = std::get_if<Tensor>(&given)) {
      value.constant = *tensor;
    } else if (const auto* i = std::get_if<int64_t>(&given)) {
      value.constant = tensor_of(make_tensor({}, std::span<const int64_t>(i, 1)));
    } else if (const auto* f = std::get_if<float>(&given)) {
      value.constant = tensor_of(make_tensor({}, std::span<const float>(f, 1)));
    } else if (const auto* is = std::get_if<std::vector<int64_t>>(&given)) {
      value.constant = tensor_of(make_tensor({static_cast<int64_t>(is->size())}, std::span<const int64_t>(*is)));
    } else if (const auto* fs = std::get_if<std::vector<float>>(&given)) {
      value.constant = tensor_of(make_tensor({static_cast<int64_t>(fs->size())}, std::span<const float>(*fs)));
    } else {
      fail("[onnx] {}: node {} (Constant) holds text", name_, node.name);
    }
  }

  // ---- tensors

  struct TensorFields {
    std::string name, location;
    Shape dims;
    int64_t type = 0;
    bool external = false, has_raw = false;
    Bytes raw;
    std::vector<float> floats;
    std::vector<int64_t> integers;
    std::vector<double> doubles;
    uint64_t offset = 0;
    std::optional<uint64_t> length;
  };

  void read_entry(Bytes bytes, const std::string& what, TensorFields& to) const {
    WireReader reader(bytes, what);
    WireField f;
    std::string key, value;
    while (reader.next(f)) {
      if (f.number == field::kEntryKey && f.type == 2) key = f.text();
      if (f.number == field::kEntryValue && f.type == 2) value = f.text();
    }
    const auto number = [&] {
      uint64_t parsed = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
      if (error != std::errc() || end != value.data() + value.size())
        fail("[onnx] {}: \"{}\" is no byte count", what, value);
      return parsed;
    };
    if (key == "location") to.location = value;
    if (key == "offset") to.offset = number();
    if (key == "length") to.length = number();
  }

  TensorFields read_fields(Bytes bytes, const std::string& where) const {
    TensorFields t;
    WireReader reader(bytes, where);
    WireField f;
    while (reader.next(f)) {
      switch (f.number) {
        case field::kTensorDims:
          add_varints(f, where, t.dims);
          break;
        case field::kTensorType:
          t.type = f.integer();
          break;
        case field::kTensorFloats:
          add_fixed(f, where, t.floats);
          break;
        case field::kTensorInts:
        case field::kTensorLongs:
          add_varints(f, where, t.integers);
          break;
        case field::kTensorDoubles:
          add_fixed(f, where, t.doubles);
          break;
        case field::kTensorName:
          t.name = f.text();
          break;
        case field::kTensorRaw:
          t.raw = f.bytes;
          t.has_raw = true;
          break;
        case field::kTensorExternal:
          read_entry(f.bytes, where, t);
          break;
        case field::kTensorLocation:
          t.external = f.value == 1;
          break;
        default:
          break;
      }
    }
    return t;
  }

  std::pair<std::string, Tensor> read_tensor(Bytes bytes, const std::string& where, bool may_be_external) {
    TensorFields t = read_fields(bytes, name_ + ": " + where);
    const std::string what = name_ + ": " + where + " " + t.name;
    const auto dtype = dtype_of(t.type);
    if (!dtype) fail("[onnx] {} has element type {}, which is not read", what, t.type);
    uint64_t expected = size_of(*dtype);
    for (const int64_t size : t.dims) {
      if (size < 0 || (size > 0 && expected > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / static_cast<uint64_t>(size)))
        fail("[onnx] {} has the impossible shape {}", what, to_string(t.dims));
      expected *= static_cast<uint64_t>(size);
    }
    Tensor tensor{*dtype, t.dims, {}, owner_};
    std::vector<std::byte> converted;
    Bytes elements;
    if (t.external) {
      if (!may_be_external) fail("[onnx] {}: only initializers may have external data", what);
      elements = external_elements(t, expected, what, tensor);
    } else if (t.has_raw) {
      elements = t.raw;
    } else {
      convert_typed(t, *dtype, converted);
      elements = converted;
    }
    if (elements.size() != expected)
      fail("[onnx] {}: shape {} needs {} bytes, there are {}", what, to_string(t.dims), expected, elements.size());
    tensor.bytes = elements;
    const bool aligned = reinterpret_cast<uintptr_t>(elements.data()) % size_of(*dtype) == 0;
    if (!converted.empty() || !aligned) {
      WritableTensor copy = allocate_tensor(*dtype, t.dims);
      if (!elements.empty()) std::memcpy(copy.data, elements.data(), elements.size());
      tensor = std::move(copy.tensor);
    }
    return {std::move(t.name), std::move(tensor)};
  }

  Bytes external_elements(const TensorFields& t, uint64_t expected, const std::string& what, Tensor& tensor) {
    const uint64_t length = t.length.value_or(expected);
    if (length != expected)
      fail("[onnx] {}: its shape needs {} bytes, its external data has {}", what, expected, length);
    auto& file = files_[t.location];
    if (!file) file = map_file_beside(directory_, t.location, "[onnx] " + what);
    const Bytes bytes = file->bytes();
    if (t.offset > bytes.size() || length > bytes.size() - t.offset)
      fail("[onnx] {}: {} bytes from {} lie outside of {}, which has {}", what, length, t.offset, t.location,
           bytes.size());
    tensor.owner = file;
    return bytes.subspan(static_cast<size_t>(t.offset), static_cast<size_t>(length));
  }

  static void convert_typed(const TensorFields& t, DType dtype, std::vector<std::byte>& to) {
    switch (dtype) {
      case DType::kF32:
        return narrow<float, float>(t.floats, to);
      case DType::kF64:
        return narrow<double, double>(t.doubles, to);
      case DType::kI64:
        return narrow<int64_t, int64_t>(t.integers, to);
      case DType::kI32:
        return narrow<int64_t, int32_t>(t.integers, to);
      case DType::kI16:
      case DType::kF16:
      case DType::kBF16:
        return narrow<int64_t, uint16_t>(t.integers, to);
      default:
        return narrow<int64_t, uint8_t>(t.integers, to);
    }
  }

  // ---- order

  /// Nodes as early as their inputs allow, else in the file's order.
  void sort_nodes() {
    const size_t count = graph_.nodes.size();
    std::vector<int64_t> producer(graph_.values.size(), -1);
    for (size_t n = 0; n < count; ++n)
      for (const ValueId id : graph_.nodes[n].outputs) {
        if (id == kNoValue) continue;
        const bool is_input = std::find(graph_.inputs.begin(), graph_.inputs.end(), id) != graph_.inputs.end();
        if (producer[id] >= 0 || graph_.is_constant(id) || is_input)
          fail("[onnx] {}: {} is made twice, the second time by node {} ({})", name_, graph_.values[id].name,
               graph_.nodes[n].name, graph_.nodes[n].op);
        producer[id] = static_cast<int64_t>(n);
      }
    std::vector<bool> known(graph_.values.size(), false);
    for (const ValueId id : graph_.inputs) known[id] = true;
    for (ValueId id = 0; id < graph_.values.size(); ++id)
      if (graph_.is_constant(id) || producer[id] >= 0) known[id] = true;
    std::vector<size_t> waiting(count, 0);
    std::vector<std::vector<size_t>> readers(count);
    for (size_t n = 0; n < count; ++n)
      for (const ValueId id : graph_.nodes[n].inputs) {
        if (id == kNoValue) continue;
        if (!known[id])
          fail("[onnx] {}: node {} ({}) reads {}, which nothing makes", name_, graph_.nodes[n].name,
               graph_.nodes[n].op, graph_.values[id].name);
        if (producer[id] < 0) continue;
        ++waiting[n];
        readers[static_cast<size_t>(producer[id])].push_back(n);
      }
    for (const ValueId id : graph_.outputs)
      if (!known[id]) fail("[onnx] {}: nothing makes the output {}", name_, graph_.values[id].name);
    std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
    for (size_t n = 0; n < count; ++n)
      if (waiting[n] == 0) ready.push(n);
    std::vector<Node> sorted;
    sorted.reserve(count);
    while (!ready.empty()) {
      const size_t n = ready.top();
      ready.pop();
      for (const size_t reader : readers[n])
        if (--waiting[reader] == 0) ready.push(reader);
      sorted.push_back(std::move(graph_.nodes[n]));
    }
    if (sorted.size() != count) {
      const auto stuck = std::find_if(waiting.begin(), waiting.end(), [](size_t w) { return w > 0; });
      const Node& node = graph_.nodes[static_cast<size_t>(stuck - waiting.begin())];
      fail("[onnx] {}: node {} ({}) waits for its own result", name_, node.name, node.op);
    }
    graph_.nodes = std::move(sorted);
  }

  std::string name_;
  fs::path directory_;
  std::shared_ptr<const void> owner_;
  Graph graph_;
  std::unordered_map<std::string, ValueId> ids_;
  std::map<std::string, int64_t> opsets_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace

Graph import_onnx(const fs::path& path) {
  const auto file = MappedFile::open(path);
  return import_onnx(file->bytes(), file, path.string(), path.parent_path());
}

Graph import_onnx(Bytes bytes, std::shared_ptr<const void> owner, const std::string& name,
                  const fs::path& directory) {
  return Importer(name, directory, std::move(owner)).import(bytes);
}

}  // namespace qdqbert::engine
