#include "qdqbert/io/unpickler.h"

#include <array>
#include <cstring>

#include "qdqbert/base/utf8.h"
#include "qdqbert/io/refuse.h"

namespace qdqbert::io {

namespace {

using Ref = uint32_t;
constexpr size_t kMostValues = 8'000'000;  // a BERT-large file needs about 10,000

enum class Kind {
  kNone,
  kBool,
  kInteger,
  kFloat,
  kText,
  kTuple,
  kList,
  kDict,
  kGlobal,
  kStorage,
  kTensor,
  kMark
};

enum class Global { kOrderedDict, kRebuildTensor, kRebuildParameter, kStorageType };

struct KnownGlobal {
  std::string_view name;
  Global what;
  DType dtype = DType::kF32;
};

constexpr std::array<KnownGlobal, 13> kGlobals = {{
    {"collections.OrderedDict", Global::kOrderedDict},
    {"torch._utils._rebuild_tensor_v2", Global::kRebuildTensor},
    {"torch._utils._rebuild_parameter", Global::kRebuildParameter},
    {"torch.DoubleStorage", Global::kStorageType, DType::kF64},
    {"torch.FloatStorage", Global::kStorageType, DType::kF32},
    {"torch.HalfStorage", Global::kStorageType, DType::kF16},
    {"torch.BFloat16Storage", Global::kStorageType, DType::kBF16},
    {"torch.LongStorage", Global::kStorageType, DType::kI64},
    {"torch.IntStorage", Global::kStorageType, DType::kI32},
    {"torch.ShortStorage", Global::kStorageType, DType::kI16},
    {"torch.CharStorage", Global::kStorageType, DType::kI8},
    {"torch.ByteStorage", Global::kStorageType, DType::kU8},
    {"torch.BoolStorage", Global::kStorageType, DType::kBool},
}};

struct Value {
  Kind kind = Kind::kNone;
  int64_t integer =
      0;  // kBool, kInteger; kGlobal: index into kGlobals; kStorage, kTensor: index into their table
  std::string text;        // kText
  std::vector<Ref> items;  // kTuple, kList; kDict: key, value, key, value, ...
};

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "a truth value";
    case Kind::kInteger:
      return "an integer";
    case Kind::kFloat:
      return "a float";
    case Kind::kText:
      return "a string";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kList:
      return "a list";
    case Kind::kDict:
      return "a dictionary";
    case Kind::kGlobal:
      return "a function or class";
    case Kind::kStorage:
      return "a storage";
    case Kind::kTensor:
      return "a tensor";
    case Kind::kMark:
      return "a mark";
  }
  return "?";
}

/// Opcode numbers of the pickle protocol, those that a dictionary of tensors can use.
enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersid = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobalOp = 'c',
  kDict = 'd',
  kAppends = 'e',
  kBinGet = 'h',
  kInst = 'i',
  kLongBinGet = 'j',
  kList = 'l',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyTuple = ')',
  kEmptyList = ']',
  kEmptyDict = '}',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

class Machine {
 public:
  Machine(std::span<const std::byte> code, const std::string& name) : code_(code), name_(name) {}

  std::vector<std::pair<std::string, PickledTensor>> run() {
    while (step()) {
    }
    const Value& top = unwrapped(values_[pop()]);
    std::vector<std::pair<std::string, PickledTensor>> out;
    std::unordered_map<std::string, size_t> places;
    const bool has_tensors = holds_tensors(top);
    for (size_t i = 0; i < top.items.size(); i += 2) {
      const Value& key = values_[top.items[i]];
      const Value& value = values_[top.items[i + 1]];
      if (key.kind != Kind::kText)
        refuse(fmt::format("a key of the dictionary is {}, not a string", kind_name(key.kind)));
      if (has_tensors && is_scalar(value.kind)) continue;  // a step, an epoch, a version
      if (value.kind != Kind::kTensor)
        refuse(fmt::format("\"{}\" is {}, not a tensor; only a plain dictionary of tensors is read", key.text,
                           kind_name(value.kind)));
      const PickledTensor& tensor = tensors_[static_cast<size_t>(value.integer)];
      const auto [at, added] = places.emplace(key.text, out.size());
      if (added) {
        out.emplace_back(key.text, tensor);
      } else {
        out[at->second].second = tensor;
      }
    }
    return out;
  }

  /// Bytes up to the end of the pickle.
  size_t size() const { return at_; }
  /// The legacy format's list of storages, in the order in which they follow.
  std::vector<std::string> run_list() {
    while (step()) {
    }
    const Value& top = values_[pop()];
    std::vector<std::string> out;
    if (top.kind != Kind::kList) refuse("the list of its storages is missing");
    for (const Ref item : top.items) {
      if (values_[item].kind != Kind::kText) refuse("the list of its storages holds something else");
      out.push_back(values_[item].text);
    }
    return out;
  }
  const std::vector<PickledStorage>& storages() const { return storages_; }
  /// Runs a pickle whose value is of no interest but for the byte order.
  void run_over() {
    while (step()) {
    }
    const Value& top = values_[pop()];
    for (size_t i = 0; top.kind == Kind::kDict && i < top.items.size(); i += 2) {
      const Value &key = values_[top.items[i]], &value = values_[top.items[i + 1]];
      if (key.kind == Kind::kText && key.text == "little_endian" && value.kind == Kind::kBool &&
          value.integer == 0)
        refuse("the tensors are not in little-endian byte order");
    }
  }

 private:
  static bool is_scalar(Kind kind) {
    return kind == Kind::kNone || kind == Kind::kBool || kind == Kind::kInteger || kind == Kind::kFloat ||
           kind == Kind::kText;
  }
  bool holds_tensors(const Value& dict) const {
    for (size_t i = 1; i < dict.items.size(); i += 2)
      if (values_[dict.items[i]].kind == Kind::kTensor) return true;
    return false;
  }
  /// The state dict of a training checkpoint stands under a name beside what else was saved.
  const Value& unwrapped(const Value& top) const {
    constexpr std::array<std::string_view, 4> kNames = {"state_dict", "model_state_dict", "model", "module"};
    if (top.kind != Kind::kDict)
      refuse(fmt::format("it holds {}, not a dictionary of tensors", kind_name(top.kind)));
    if (holds_tensors(top)) return top;
    for (const std::string_view name : kNames)
      for (size_t i = 0; i < top.items.size(); i += 2) {
        const Value &key = values_[top.items[i]], &value = values_[top.items[i + 1]];
        if (key.kind == Kind::kText && key.text == name && value.kind == Kind::kDict && holds_tensors(value))
          return value;
      }
    return top;
  }

  [[noreturn]] void refuse(std::string_view why) const { io::refuse("[pickle] {}: {}", name_, why); }
  [[noreturn]] void broken(std::string_view what) const {
    refuse(fmt::format("the pickle is damaged at byte {}: {}", at_, what));
  }

  // ---- bytes
  std::span<const std::byte> take(uint64_t count) {
    if (count > code_.size() - at_)
      broken(fmt::format("{} more bytes are needed, {} are left", count, code_.size() - at_));
    const auto bytes = code_.subspan(at_, count);
    at_ += count;
    return bytes;
  }
  uint64_t number(size_t bytes) {
    uint64_t value = 0;
    size_t shift = 0;
    for (const std::byte b : take(bytes)) value |= static_cast<uint64_t>(b) << (8 * shift++);
    return value;
  }
  std::string string(uint64_t size) {
    const auto bytes = take(size);
    std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (find_invalid_utf8(text) != std::string_view::npos) broken("a string is not valid UTF-8");
    return text;
  }
  std::string line() {
    const char* begin = reinterpret_cast<const char*>(code_.data()) + at_;
    const void* end = at_ < code_.size() ? std::memchr(begin, '\n', code_.size() - at_) : nullptr;
    if (!end) broken("a line has no end");
    std::string text(begin, static_cast<const char*>(end));
    at_ += text.size() + 1;
    if (text.size() > 1000 || find_invalid_utf8(text) != std::string_view::npos)
      broken("the name of a global is not valid");
    return text;
  }

  // ---- values
  Ref make(Value value) {
    if (values_.size() >= kMostValues)
      refuse(fmt::format("more than {} values are above the limit", kMostValues));
    values_.push_back(std::move(value));
    return static_cast<Ref>(values_.size() - 1);
  }
  void push(Value value) { stack_.push_back(make(std::move(value))); }
  void push_integer(int64_t integer) { push({Kind::kInteger, integer, {}, {}}); }
  Ref pop() {
    if (stack_.empty()) broken("the stack is empty");
    const Ref ref = stack_.back();
    stack_.pop_back();
    if (values_[ref].kind == Kind::kMark) broken("a mark stands where a value is needed");
    return ref;
  }
  Ref top() const {
    if (stack_.empty() || values_[stack_.back()].kind == Kind::kMark) broken("the stack is empty");
    return stack_.back();
  }
  /// What stands above the last mark, which is removed with it.
  std::vector<Ref> pop_to_mark() {
    size_t begin = stack_.size();
    while (begin > 0 && values_[stack_[begin - 1]].kind != Kind::kMark) --begin;
    if (begin == 0) broken("there is no mark");
    std::vector<Ref> items(stack_.begin() + static_cast<ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin - 1);
    return items;
  }
  void push_tuple(size_t size) {
    std::vector<Ref> items(size);
    for (size_t i = size; i-- > 0;) items[i] = pop();
    push({Kind::kTuple, 0, {}, std::move(items)});
  }
  void memoize(uint64_t place) { memo_[place] = top(); }
  void recall(uint64_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) broken(fmt::format("memo {} was never set", place));
    stack_.push_back(found->second);
  }
  void add_items(Ref dict, const std::vector<Ref>& items) {
    if (values_[dict].kind != Kind::kDict)
      broken(fmt::format("items are set on {}", kind_name(values_[dict].kind)));
    if (items.size() % 2 != 0) broken("a key has no value");
    values_[dict].items.insert(values_[dict].items.end(), items.begin(), items.end());
  }
  void add_elements(Ref list, const std::vector<Ref>& items) {
    if (values_[list].kind != Kind::kList)
      broken(fmt::format("elements are added to {}", kind_name(values_[list].kind)));
    values_[list].items.insert(values_[list].items.end(), items.begin(), items.end());
  }

  // ---- what the values mean
  void push_global(const std::string& module, const std::string& name) {
    const std::string full = module + "." + name;
    for (size_t i = 0; i < kGlobals.size(); ++i)
      if (kGlobals[i].name == full) return push({Kind::kGlobal, static_cast<int64_t>(i), {}, {}});
    refuse(fmt::format("it asks for the global {}, which is no part of a plain tensor; nothing was executed",
                       full));
  }
  const KnownGlobal* global(Ref ref) const {
    return values_[ref].kind == Kind::kGlobal ? &kGlobals[static_cast<size_t>(values_[ref].integer)]
                                              : nullptr;
  }
  int64_t size_value(Ref ref, std::string_view what) const {
    const Value& value = values_[ref];
    if (value.kind != Kind::kInteger || value.integer < 0)
      broken(fmt::format(
          "{} must be a non-negative integer, found {}", what,
          value.kind == Kind::kInteger ? std::to_string(value.integer) : std::string(kind_name(value.kind))));
    return value.integer;
  }
  Shape sizes(Ref ref, std::string_view what) const {
    const Value& value = values_[ref];
    if (value.kind != Kind::kTuple)
      broken(fmt::format("{} must be a tuple, found {}", what, kind_name(value.kind)));
    if (value.items.size() > 64)
      broken(fmt::format("{} has {} dimensions, at most 64 are possible", what, value.items.size()));
    Shape out;
    for (const Ref item : value.items) out.push_back(size_value(item, what));
    return out;
  }

  void push_storage() {
    const Value& id = values_[pop()];
    // The legacy format has a sixth: None, or a view into another storage.
    const bool five = id.kind == Kind::kTuple && id.items.size() == 5;
    const bool legacy = id.kind == Kind::kTuple && id.items.size() == 6;
    if (!five && !legacy) broken("a persistent id is not a tuple of five");
    if (legacy && values_[id.items[5]].kind != Kind::kNone)
      refuse("a storage is a view into another, which is not read");
    const Value& tag = values_[id.items[0]];
    const KnownGlobal* type = global(id.items[1]);
    const Value& key = values_[id.items[2]];
    if (tag.kind != Kind::kText || tag.text != "storage" || !type || type->what != Global::kStorageType ||
        key.kind != Kind::kText)
      broken("a persistent id does not describe a storage");
    PickledStorage storage{type->dtype, key.text, size_value(id.items[4], "the size of a storage")};
    storages_.push_back(std::move(storage));
    push({Kind::kStorage, static_cast<int64_t>(storages_.size() - 1), {}, {}});
  }

  void reduce() {
    const Ref arguments_ref = pop(), function_ref = pop();
    const KnownGlobal* function = global(function_ref);
    const Value& arguments = values_[arguments_ref];
    if (!function || function->what == Global::kStorageType || arguments.kind != Kind::kTuple)
      broken(fmt::format("{} is called", function ? function->name : kind_name(values_[function_ref].kind)));
    const std::vector<Ref>& items = arguments.items;
    switch (function->what) {
      case Global::kOrderedDict:
        if (!items.empty()) broken("an ordered dictionary is made from something");
        push({Kind::kDict, 0, {}, {}});
        return;
      case Global::kRebuildParameter:
        if (items.size() != 3 || values_[items[0]].kind != Kind::kTensor)
          broken("a parameter is not made from a tensor");
        stack_.push_back(items[0]);
        return;
      default:
        break;
    }
    if (items.size() < 6 || items.size() > 7 || values_[items[0]].kind != Kind::kStorage)
      broken("a tensor is not made from a storage");
    PickledTensor tensor;
    tensor.storage = storages_[static_cast<size_t>(values_[items[0]].integer)];
    tensor.offset = size_value(items[1], "the offset of a tensor");
    tensor.shape = sizes(items[2], "the shape of a tensor");
    tensor.strides = sizes(items[3], "the strides of a tensor");
    if (tensor.shape.size() != tensor.strides.size())
      broken(fmt::format("a tensor has {} sizes and {} strides", tensor.shape.size(), tensor.strides.size()));
    tensors_.push_back(std::move(tensor));
    push({Kind::kTensor, static_cast<int64_t>(tensors_.size() - 1), {}, {}});
  }

  bool step() {
    const uint8_t opcode = static_cast<uint8_t>(number(1));
    switch (opcode) {
      case kProto:
        if (const uint64_t protocol = number(1); protocol < 2 || protocol > 5)
          broken(fmt::format("the pickle protocol {} is not between 2 and 5", protocol));
        return true;
      case kFrame:
        number(8);
        return true;
      case kStop:
        return false;
      case kMark:
        push({Kind::kMark, 0, {}, {}});
        return true;
      case kPop:
        pop();
        return true;
      case kPopMark:
        pop_to_mark();
        return true;
      case kNone:
        push({});
        return true;
      case kNewTrue:
      case kNewFalse:
        push({Kind::kBool, opcode == kNewTrue, {}, {}});
        return true;
      case kBinInt:
        push_integer(static_cast<int32_t>(number(4)));
        return true;
      case kBinInt1:
        push_integer(static_cast<int64_t>(number(1)));
        return true;
      case kBinInt2:
        push_integer(static_cast<int64_t>(number(2)));
        return true;
      case kLong1: {
        const size_t size = number(1);
        if (size == 10) {  // the magic number of the legacy format, which its reader has compared
          take(size);
          push_integer(0);
          return true;
        }
        if (size > 8) broken(fmt::format("an integer of {} bytes is too large", size));
        uint64_t value = number(size);
        if (size > 0 && size < 8 && (value >> (8 * size - 1)) != 0) value |= ~uint64_t{0} << (8 * size);
        push_integer(static_cast<int64_t>(value));
        return true;
      }
      case kBinFloat:
        take(8);
        push({Kind::kFloat, 0, {}, {}});
        return true;
      case kBinUnicode:
        push({Kind::kText, 0, string(number(4)), {}});
        return true;
      case kShortBinUnicode:
        push({Kind::kText, 0, string(number(1)), {}});
        return true;
      case kBinUnicode8:
        push({Kind::kText, 0, string(number(8)), {}});
        return true;
      case kEmptyTuple:
        push_tuple(0);
        return true;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        push_tuple(size_t{opcode} - kTuple1 + 1);
        return true;
      case kTuple: {
        std::vector<Ref> items = pop_to_mark();
        push({Kind::kTuple, 0, {}, std::move(items)});
        return true;
      }
      case kEmptyList:
        push({Kind::kList, 0, {}, {}});
        return true;
      case kList: {
        std::vector<Ref> items = pop_to_mark();
        push({Kind::kList, 0, {}, std::move(items)});
        return true;
      }
      case kAppend: {
        const Ref item = pop();
        add_elements(top(), {item});
        return true;
      }
      case kAppends: {
        const std::vector<Ref> items = pop_to_mark();
        add_elements(top(), items);
        return true;
      }
      case kEmptyDict:
        push({Kind::kDict, 0, {}, {}});
        return true;
      case kDict: {
        const std::vector<Ref> items = pop_to_mark();
        push({Kind::kDict, 0, {}, {}});
        add_items(top(), items);
        return true;
      }
      case kSetItem: {
        const Ref value = pop(), key = pop();
        add_items(top(), {key, value});
        return true;
      }
      case kSetItems: {
        const std::vector<Ref> items = pop_to_mark();
        add_items(top(), items);
        return true;
      }
      case kBuild: {  // attributes of a dictionary (the `_metadata` of a state dict) carry no tensors
        const Ref state = pop();
        if (values_[state].kind != Kind::kDict || values_[top()].kind != Kind::kDict)
          broken(fmt::format("attributes are set on {}", kind_name(values_[top()].kind)));
        return true;
      }
      case kBinPut:
        memoize(number(1));
        return true;
      case kLongBinPut:
        memoize(number(4));
        return true;
      case kMemoize:
        memoize(memo_.size());
        return true;
      case kBinGet:
        recall(number(1));
        return true;
      case kLongBinGet:
        recall(number(4));
        return true;
      case kGlobalOp: {
        const std::string module = line(), name = line();
        push_global(module, name);
        return true;
      }
      case kInst: {
        const std::string module = line(), name = line();
        refuse(fmt::format(
            "it asks for an instance of {}.{}, which is no part of a plain tensor; nothing was executed",
            module, name));
      }
      case kStackGlobal: {
        const Ref name = pop(), module = pop();
        if (values_[name].kind != Kind::kText || values_[module].kind != Kind::kText)
          broken("the name of a global is no string");
        push_global(values_[module].text, values_[name].text);
        return true;
      }
      case kBinPersid:
        push_storage();
        return true;
      case kReduce:
        reduce();
        return true;
      default:
        --at_;
        broken(fmt::format("the opcode 0x{:02x} is not one that a dictionary of tensors needs", opcode));
    }
  }

  std::span<const std::byte> code_;
  const std::string& name_;
  size_t at_ = 0;
  std::vector<Value> values_;
  std::vector<Ref> stack_;
  std::unordered_map<uint64_t, Ref> memo_;
  std::vector<PickledStorage> storages_;
  std::vector<PickledTensor> tensors_;
};

}  // namespace

UnpickledDict unpickle_dict(std::span<const std::byte> pickle, const std::string& name) {
  Machine machine(pickle, name);
  UnpickledDict dict;
  dict.tensors = machine.run();
  dict.storages = machine.storages();
  dict.size = machine.size();
  return dict;
}

std::vector<std::pair<std::string, PickledTensor>> unpickle_state_dict(std::span<const std::byte> pickle,
                                                                       const std::string& name) {
  return unpickle_dict(pickle, name).tensors;
}

std::vector<std::string> unpickle_names(std::span<const std::byte> pickle, const std::string& name,
                                        size_t& size) {
  Machine machine(pickle, name);
  std::vector<std::string> names = machine.run_list();
  size = machine.size();
  return names;
}

size_t skip_pickle(std::span<const std::byte> pickle, const std::string& name) {
  Machine machine(pickle, name);
  machine.run_over();
  return machine.size();
}

}  // namespace qdqbert::io
