#include "qdqbert/engine/import_onnx.h"

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <unordered_map>

#include "qdqbert/base/error.h"
#include "qdqbert/base/mapped_file.h"
#include "qdqbert/engine/import_tensor.h"
#include "qdqbert/engine/wire.h"

namespace qdqbert::engine {

namespace {

namespace fs = std::filesystem;
using Bytes = std::span<const std::byte>;

constexpr int64_t kOldestOpset = 11, kNewestOpset = 26;
/// Far more than any BERT has; keeps a hostile file from filling memory with empty nodes and values.
constexpr size_t kMostNodes = size_t{1} << 20, kMostValues = size_t{1} << 20;

// Field numbers of onnx.proto3.
namespace field {
constexpr uint32_t kModelGraph = 7, kModelOpset = 8, kModelFunction = 25;
constexpr uint32_t kFunctionName = 1, kFunctionDomain = 10;
constexpr uint32_t kOpsetDomain = 1, kOpsetVersion = 2;
constexpr uint32_t kGraphNode = 1, kGraphInitializer = 5, kGraphInput = 11, kGraphOutput = 12,
                   kGraphSparse = 15;
constexpr uint32_t kNodeInput = 1, kNodeOutput = 2, kNodeName = 3, kNodeOp = 4, kNodeAttribute = 5,
                   kNodeDomain = 7;
constexpr uint32_t kAttributeName = 1, kAttributeF = 2, kAttributeI = 3, kAttributeS = 4, kAttributeT = 5,
                   kAttributeG = 6, kAttributeFloats = 7, kAttributeInts = 8, kAttributeStrings = 9,
                   kAttributeTensors = 10, kAttributeGraphs = 11, kAttributeTypeProto = 14,
                   kAttributeTypeProtos = 15, kAttributeType = 20, kAttributeRef = 21, kAttributeSparse = 22,
                   kAttributeSparses = 23;
constexpr uint32_t kValueName = 1, kValueType = 2, kTypeTensor = 1, kTypeDenotation = 6,
                   kTensorTypeElement = 1, kTensorTypeShape = 2, kShapeDimension = 1, kDimensionValue = 1;
}  // namespace field

/// AttributeProto::AttributeType by number: its name, and the field that holds the value.
struct AttributeKind {
  std::string_view name;
  uint32_t field;
};
constexpr AttributeKind kAttributeKinds[] = {{"UNDEFINED", 0},
                                             {"FLOAT", field::kAttributeF},
                                             {"INT", field::kAttributeI},
                                             {"STRING", field::kAttributeS},
                                             {"TENSOR", field::kAttributeT},
                                             {"GRAPH", field::kAttributeG},
                                             {"FLOATS", field::kAttributeFloats},
                                             {"INTS", field::kAttributeInts},
                                             {"STRINGS", field::kAttributeStrings},
                                             {"TENSORS", field::kAttributeTensors},
                                             {"GRAPHS", field::kAttributeGraphs},
                                             {"SPARSE_TENSOR", field::kAttributeSparse},
                                             {"SPARSE_TENSORS", field::kAttributeSparses},
                                             {"TYPE_PROTO", field::kAttributeTypeProto},
                                             {"TYPE_PROTOS", field::kAttributeTypeProtos}};

/// From the type that the file states, or, in old files without one, from the field that it gives. A value of
/// 0 and an empty list may be left out.
AttributeKind kind_of(int64_t type, const std::set<uint32_t>& given, const std::string& what) {
  if (type < 0 || type >= static_cast<int64_t>(std::size(kAttributeKinds)))
    fail("[onnx] {} is of type {}, which ONNX does not have", what, type);
  AttributeKind kind = kAttributeKinds[type];
  if (type == 0) {
    if (given.empty()) fail("[onnx] {} has neither type nor value", what);
    kind = *std::find_if(std::begin(kAttributeKinds), std::end(kAttributeKinds),
                         [&](const AttributeKind& k) { return k.field == *given.begin(); });
  }
  if (!given.empty() && !given.count(kind.field))
    fail("[onnx] {} is of type {} and has another value", what, kind.name);
  return kind;
}

class Importer {
 public:
  Importer(std::string name, fs::path directory, std::shared_ptr<const void> owner, const MappedFile* mapping)
      : name_(std::move(name)), tensors_(name_, std::move(directory), std::move(owner), mapping) {
    graph_.name = name_;
  }

  Graph import(Bytes bytes) {
    refuse_pointer(bytes);
    Bytes graph;
    bool found = false;
    WireReader model(bytes, name_);
    WireField f;
    while (model.next(f)) {
      if (f.number == field::kModelGraph) {
        if (found) fail("[onnx] {} has two graphs", name_);
        graph = model.bytes(f);
        found = true;
      } else if (f.number == field::kModelOpset) {
        read_opset(model.bytes(f));
      } else if (f.number == field::kModelFunction) {
        read_function(model.bytes(f));
      }
    }
    if (!found) fail("[onnx] {} has no graph; is it an ONNX file?", name_);
    const auto main = opsets_.find("");
    if (main == opsets_.end()) fail("[onnx] {} does not say which opset it needs", name_);
    if (main->second < kOldestOpset || main->second > kNewestOpset)
      fail("[onnx] {} needs opset {}; {} to {} are understood", name_, main->second, kOldestOpset,
           kNewestOpset);
    read_graph(graph);
    sort_nodes();
    graph_.files = tensors_.files();
    return std::move(graph_);
  }

 private:
  /// What a checkout without Git LFS leaves where large files should be.
  void refuse_pointer(Bytes bytes) const {
    constexpr std::string_view kPointer = "version https://git-lfs";
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text.substr(0, kPointer.size()) == kPointer)
      fail("[onnx] {} is a Git LFS pointer, not the file itself; git lfs pull fetches it", name_);
  }

  void read_opset(Bytes bytes) {
    WireReader reader(bytes, name_);
    WireField f;
    std::string domain;
    int64_t version = 0;
    while (reader.next(f)) {
      if (f.number == field::kOpsetDomain) domain = reader.name(f);
      if (f.number == field::kOpsetVersion) version = reader.integer(f);
    }
    if (domain == "ai.onnx") domain.clear();
    const auto [found, is_new] = opsets_.emplace(domain, version);
    if (!is_new && found->second != version)
      fail("[onnx] {} needs opsets {} and {} of the domain {}", name_, found->second, version,
           domain.empty() ? "ai.onnx" : domain);
  }

  /// Operators that the file defines by nodes of its own.
  void read_function(Bytes bytes) {
    WireReader reader(bytes, name_);
    WireField f;
    std::string name, domain;
    while (reader.next(f)) {
      if (f.number == field::kFunctionName) name = reader.name(f);
      if (f.number == field::kFunctionDomain) domain = reader.name(f);
    }
    functions_.insert(operator_name(domain, name));
  }

  static std::string operator_name(const std::string& domain, const std::string& op) {
    return domain.empty() || domain == "ai.onnx" ? op : domain + "." + op;
  }

  ValueId value_of(std::string_view name) {
    const auto [entry, is_new] = ids_.try_emplace(std::string(name), kNoValue);
    if (is_new) entry->second = graph_.add_value(std::string(name));
    if (ids_.size() > kMostValues) fail("[onnx] {} has more than {} values", name_, kMostValues);
    return entry->second;
  }

  void read_graph(Bytes bytes) {
    std::vector<Bytes> nodes, inputs, outputs;
    WireReader reader(bytes, name_);
    WireField f;
    while (reader.next(f)) {
      if (f.number == field::kGraphInitializer) {
        auto [name, tensor] = tensors_.read(reader.bytes(f), "initializer");
        if (name.empty()) fail("[onnx] {}: an initializer has no name", name_);
        const ValueId id = value_of(name);
        if (graph_.values[id].constant) fail("[onnx] {}: two initializers are named {}", name_, name);
        graph_.values[id].constant = std::move(tensor);
      } else if (f.number == field::kGraphNode) {
        nodes.push_back(reader.bytes(f));
        if (nodes.size() > kMostNodes) fail("[onnx] {} has more than {} nodes", name_, kMostNodes);
      } else if (f.number == field::kGraphInput) {
        inputs.push_back(reader.bytes(f));
      } else if (f.number == field::kGraphOutput) {
        outputs.push_back(reader.bytes(f));
      } else if (f.number == field::kGraphSparse) {
        fail("[onnx] {} has sparse tensors, which are not read", name_);
      }
    }
    for (const Bytes input : inputs) {
      const ValueInfo info = read_value_info(input);
      const ValueId id = value_of(info.name);
      if (graph_.is_constant(id)) continue;  // a default value; old files list every initializer
      if (!input_ids_.insert(id).second) fail("[onnx] {}: two inputs are named {}", name_, info.name);
      if (!info.dtype) fail("[onnx] {}: input {} has no element type", name_, info.name);
      graph_.values[id].dtype = info.dtype;
      graph_.values[id].shape = info.shape;
      graph_.inputs.push_back(id);
    }
    for (const Bytes node : nodes) read_node(node);
    std::set<ValueId> output_ids;
    for (const Bytes output : outputs) {
      const ValueInfo info = read_value_info(output);
      const ValueId id = value_of(info.name);
      if (!output_ids.insert(id).second) fail("[onnx] {}: two outputs are named {}", name_, info.name);
      if (!input_ids_.contains(id)) {
        graph_.values[id].dtype = info.dtype;
        graph_.values[id].shape = info.shape;
      }
      graph_.outputs.push_back(id);
    }
    if (graph_.outputs.empty()) fail("[onnx] {} has no outputs", name_);
  }

  struct ValueInfo {
    std::string name;
    std::optional<DType> dtype;
    std::optional<Shape> shape;
  };

  ValueInfo read_value_info(Bytes bytes) {
    WireReader reader(bytes, name_);
    WireField f;
    ValueInfo info;
    Bytes type;
    while (reader.next(f)) {
      if (f.number == field::kValueName) info.name = reader.name(f);
      if (f.number == field::kValueType) type = reader.bytes(f);
    }
    if (info.name.empty()) fail("[onnx] {}: a graph input or output has no name", name_);
    WireReader types(type, name_);
    while (types.next(f)) {
      if (f.number == field::kTypeTensor)
        read_tensor_type(types.bytes(f), info);
      else if (f.number != field::kTypeDenotation)
        fail("[onnx] {}: {} is no tensor but a sequence, a map or optional", name_, info.name);
    }
    return info;
  }

  void read_tensor_type(Bytes bytes, ValueInfo& info) {
    WireReader reader(bytes, name_);
    WireField f;
    while (reader.next(f)) {
      if (f.number == field::kTensorTypeElement && reader.integer(f) != 0)
        info.dtype = dtype_of_onnx(reader.integer(f), name_ + ": " + info.name);
      if (f.number != field::kTensorTypeShape) continue;
      info.shape.emplace();
      WireReader dimensions(reader.bytes(f), name_);
      WireField dimension;
      while (dimensions.next(dimension)) {
        if (dimension.number != field::kShapeDimension) continue;
        int64_t size = -1;
        WireReader parts(dimensions.bytes(dimension), name_);
        WireField part;
        while (parts.next(part))
          if (part.number == field::kDimensionValue) size = parts.integer(part);
        if (size < -1 || info.shape->size() == kHighestRank)
          fail("[onnx] {}: {} has a dimension of size {} after {} others", name_, info.name, size,
               info.shape->size());
        info.shape->push_back(size);
      }
    }
  }

  void read_node(Bytes bytes) {
    Node node;
    std::string domain;
    std::vector<Bytes> attributes;
    WireReader reader(bytes, name_);
    WireField f;
    while (reader.next(f)) {
      if (f.number == field::kNodeInput)
        node.inputs.push_back(reader.bytes(f).empty() ? kNoValue : value_of(reader.name(f)));
      else if (f.number == field::kNodeOutput)
        node.outputs.push_back(reader.bytes(f).empty() ? kNoValue : value_of(reader.name(f)));
      else if (f.number == field::kNodeName)
        node.name = reader.name(f);
      else if (f.number == field::kNodeOp)
        node.op = reader.name(f);
      else if (f.number == field::kNodeAttribute)
        attributes.push_back(reader.bytes(f));
      else if (f.number == field::kNodeDomain)
        domain = reader.name(f);
    }
    if (domain == "ai.onnx") domain.clear();
    const auto output =
        std::find_if(node.outputs.begin(), node.outputs.end(), [](ValueId id) { return id != kNoValue; });
    if (output == node.outputs.end())
      fail("[onnx] {}: node {} ({}) has no output", name_, node.name, node.op);
    if (node.name.empty()) node.name = graph_.values[*output].name;
    if (node.op.empty()) fail("[onnx] {}: node {} has no operator", name_, node.name);
    node.op = operator_name(domain, node.op);
    // Passes put operators of this domain in the place of others and trust what they wrote. An operator
    // without a domain may be called the same.
    if (node.op.starts_with("qdqbert."))
      fail("[onnx] {}: node {} ({}) is of the domain qdqbert, which the engine keeps to itself", name_,
           node.name, node.op);
    if (functions_.count(node.op))
      fail("[onnx] {}: node {} ({}) is a function that the file defines; inline functions first", name_,
           node.name, node.op);
    const auto opset = opsets_.find(domain);
    if (opset == opsets_.end())
      fail("[onnx] {}: node {} ({}) is of domain {}, whose version the file does not say", name_, node.name,
           node.op, domain);
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
    std::string name, text;
    int64_t type = 0, integer = 0;
    float real = 0;
    Bytes tensor;
    std::vector<int64_t> integers;
    std::vector<float> reals;
    std::set<uint32_t> given;  // the fields that hold values
    while (reader.next(f)) {
      switch (f.number) {
        case field::kAttributeName:
          name = reader.name(f);
          continue;
        case field::kAttributeType:
          type = reader.integer(f);
          continue;
        case field::kAttributeF:
          real = reader.real(f);
          break;
        case field::kAttributeI:
          integer = reader.integer(f);
          break;
        case field::kAttributeS:
          text = reader.text(f);
          break;
        case field::kAttributeT:
          tensor = reader.bytes(f);
          break;
        case field::kAttributeFloats:
          reader.each_float(f, [&](float v) { reals.push_back(v); });
          break;
        case field::kAttributeInts:
          reader.each_varint(f, [&](uint64_t v) { integers.push_back(static_cast<int64_t>(v)); });
          break;
        case field::kAttributeG:
        case field::kAttributeGraphs:
        case field::kAttributeStrings:
        case field::kAttributeTensors:
        case field::kAttributeTypeProto:
        case field::kAttributeTypeProtos:
        case field::kAttributeRef:
        case field::kAttributeSparse:
        case field::kAttributeSparses:
          break;
        default:
          continue;
      }
      given.insert(f.number);
    }
    if (name.empty()) fail("[onnx] {} has an attribute without a name", what);
    if (given.count(field::kAttributeRef))
      fail("[onnx] {}: attribute {} refers to one of a function", what, name);
    if (given.size() > 1) fail("[onnx] {}: attribute {} has values of several types", what, name);
    const AttributeKind kind = kind_of(type, given, what + ": attribute " + name);
    Attribute value;
    switch (kind.field) {
      case field::kAttributeF:
        value = real;
        break;
      case field::kAttributeI:
        value = integer;
        break;
      case field::kAttributeS:
        value = std::move(text);
        break;
      case field::kAttributeT:
        value = tensors_.read(tensor, "node " + node.name + " (" + node.op + "): attribute " + name).second;
        break;
      case field::kAttributeFloats:
        value = std::move(reals);
        break;
      case field::kAttributeInts:
        value = std::move(integers);
        break;
      case field::kAttributeG:
      case field::kAttributeGraphs:
        fail("[onnx] {}: attribute {} is a graph; control flow is not supported", what, name);
      default:
        fail("[onnx] {}: attribute {} is of type {}, which is not read", what, name, kind.name);
    }
    if (!node.attributes.emplace(name, std::move(value)).second)
      fail("[onnx] {}: attribute {} is given twice", what, name);
  }

  void make_constant(const Node& node) {
    const std::string what = name_ + ": node " + node.name + " (Constant)";
    if (!node.inputs.empty() || node.outputs.size() != 1 || node.attributes.size() != 1)
      fail("[onnx] {} has {} inputs, {} outputs and {} attributes, not 0, 1 and 1", what, node.inputs.size(),
           node.outputs.size(), node.attributes.size());
    Value& value = graph_.values[node.outputs[0]];
    if (value.constant || input_ids_.count(node.outputs[0]))
      fail("[onnx] {}: {} is made twice", what, value.name);
    const auto& [key, given] = *node.attributes.begin();
    const auto* tensor = std::get_if<Tensor>(&given);
    const auto* i = std::get_if<int64_t>(&given);
    const auto* f = std::get_if<float>(&given);
    const auto* is = std::get_if<std::vector<int64_t>>(&given);
    const auto* fs = std::get_if<std::vector<float>>(&given);
    if (key == "value" && tensor)
      value.constant = *tensor;
    else if (key == "value_int" && i)
      value.constant = tensor_of(make_tensor({}, std::span<const int64_t>(i, 1)));
    else if (key == "value_float" && f)
      value.constant = tensor_of(make_tensor({}, std::span<const float>(f, 1)));
    else if (key == "value_ints" && is)
      value.constant =
          tensor_of(make_tensor({static_cast<int64_t>(is->size())}, std::span<const int64_t>(*is)));
    else if (key == "value_floats" && fs)
      value.constant =
          tensor_of(make_tensor({static_cast<int64_t>(fs->size())}, std::span<const float>(*fs)));
    else
      fail("[onnx] {}: no constant is made of attribute {}", what, key);
  }

  // ---- order

  /// Nodes as early as their inputs allow, else in the file's order.
  void sort_nodes() {
    const size_t count = graph_.nodes.size();
    std::vector<int64_t> producer(graph_.values.size(), -1);
    for (size_t n = 0; n < count; ++n)
      for (const ValueId id : graph_.nodes[n].outputs) {
        if (id == kNoValue) continue;
        if (producer[id] >= 0 || graph_.is_constant(id) || input_ids_.count(id))
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
    if (sorted.size() != count) refuse_cycle(producer, waiting);
    graph_.nodes = std::move(sorted);
  }

  /// Walks back from a node that never became ready: each of them waits for another one, so the walk comes to
  /// one of them a second time. Those that only stand behind the cycle are not named.
  [[noreturn]] void refuse_cycle(const std::vector<int64_t>& producer,
                                 const std::vector<size_t>& waiting) const {
    size_t n = 0;
    while (waiting[n] == 0) ++n;
    std::vector<bool> seen(waiting.size(), false);
    while (!seen[n]) {
      seen[n] = true;
      for (const ValueId id : graph_.nodes[n].inputs) {
        if (id == kNoValue || producer[id] < 0 || waiting[static_cast<size_t>(producer[id])] == 0) continue;
        n = static_cast<size_t>(producer[id]);
        break;
      }
    }
    fail("[onnx] {}: node {} ({}) waits for its own result", name_, graph_.nodes[n].name, graph_.nodes[n].op);
  }

  std::string name_;
  TensorReader tensors_;
  Graph graph_;
  std::unordered_map<std::string, ValueId> ids_;
  std::set<ValueId> input_ids_;
  std::map<std::string, int64_t> opsets_;
  std::set<std::string> functions_;
};

}  // namespace

Graph import_onnx(const fs::path& path) {
  const auto file = MappedFile::open(path);
  Graph graph = Importer(path.string(), path.parent_path(), file, file.get()).import(file->bytes());
  graph.files.push_back(file);
  return graph;
}

Graph import_onnx(Bytes bytes, std::shared_ptr<const void> owner, const std::string& name,
                  const fs::path& directory) {
  return Importer(name, directory, std::move(owner), nullptr).import(bytes);
}

}  // namespace qdqbert::engine
