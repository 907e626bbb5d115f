#include "qdqbert/io/torch_pickle.h"

#include <numeric>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"

#include "tests/io/archive_builder.h"

namespace qdqbert::io {
namespace {

TensorSet parse(const std::string& file) {
  return parse_torch_pickle(std::as_bytes(std::span(file)), "x.bin");
}

std::string refusal(const std::string& file) {
  try {
    parse(file);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

std::vector<float> counting(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

const std::string kTwelve = bytes_of(counting(12));

TEST(TorchPickleTest, ReadsViewsParametersAndSharedStorages) {
  const std::string file = torch_file(
      pickle_state_dict({{.name = "whole", .numel = 12, .shape = {3, 4}, .strides = {4, 1}},
                         {.name = "row", .numel = 12, .offset = 4, .shape = {4}, .strides = {1}},
                         {.name = "transposed", .numel = 12, .shape = {4, 3}, .strides = {1, 4}},
                         {.name = "expanded", .numel = 12, .offset = 2, .shape = {3}, .strides = {0}},
                         {.name = "scalar", .numel = 12, .offset = 11, .parameter = true},
                         {.name = "one_row", .numel = 12, .shape = {1, 4}, .strides = {99, 1}},
                         {.name = "nothing", .numel = 12, .offset = 12, .shape = {0, 5}, .strides = {5, 1}}}),
      {{"0", kTwelve}});
  const TensorSet set = parse(file);
  ASSERT_EQ(set.tensors().size(), 7u);
  EXPECT_EQ(set.tensors()[0].name, "whole");
  EXPECT_EQ(to_float32(*set.find("whole")), counting(12));
  EXPECT_EQ(to_float32(*set.find("row")), (std::vector<float>{4, 5, 6, 7}));
  EXPECT_EQ(to_float32(*set.find("transposed")), (std::vector<float>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}));
  EXPECT_EQ(to_float32(*set.find("expanded")), (std::vector<float>{2, 2, 2}));
  EXPECT_EQ(to_float32(*set.find("scalar")), std::vector<float>{11});
  EXPECT_EQ(set.find("scalar")->shape, Shape{});
  EXPECT_EQ(set.find("nothing")->shape, (Shape{0, 5}));
  // Contiguous tensors are views into the file; the stride of a single row does not matter.
  for (const char* name : {"row", "one_row"}) {
    const char* at = reinterpret_cast<const char*>(set.find(name)->data.data());
    EXPECT_TRUE(at > file.data() && at < file.data() + file.size()) << name;
  }
}

TEST(TorchPickleTest, ReadsEveryStorageType) {
  struct Case {
    const char* type;
    DType dtype;
    std::string bytes;
    std::vector<float> values;
  };
  const std::vector<Case> cases = {
      {"DoubleStorage", DType::kF64, bytes_of(std::vector<double>{1.5, -2}), {1.5, -2}},
      {"FloatStorage", DType::kF32, bytes_of(std::vector<float>{1.5, -2}), {1.5, -2}},
      {"HalfStorage", DType::kF16, bytes_of(std::vector<uint16_t>{0x3e00, 0xc000}), {1.5, -2}},
      {"BFloat16Storage", DType::kBF16, bytes_of(std::vector<uint16_t>{0x3fc0, 0xc000}), {1.5, -2}},
      {"LongStorage", DType::kI64, bytes_of(std::vector<int64_t>{7, -8}), {7, -8}},
      {"IntStorage", DType::kI32, bytes_of(std::vector<int32_t>{7, -8}), {7, -8}},
      {"ShortStorage", DType::kI16, bytes_of(std::vector<int16_t>{7, -8}), {7, -8}},
      {"CharStorage", DType::kI8, bytes_of(std::vector<int8_t>{7, -8}), {7, -8}},
      {"ByteStorage", DType::kU8, bytes_of(std::vector<uint8_t>{7, 255}), {7, 255}},
      {"BoolStorage", DType::kBool, bytes_of(std::vector<uint8_t>{1, 0}), {1, 0}}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.type);
    const std::string file = torch_file(
        pickle_state_dict({{.name = "t", .type = c.type, .numel = 2, .shape = {2}, .strides = {1}}}),
        {{"0", c.bytes}});
    const TensorSet set = parse(file);
    EXPECT_EQ(set.find("t")->dtype, c.dtype);
    EXPECT_EQ(to_float32(*set.find("t")), c.values);
  }
}

TEST(TorchPickleTest, ReadsDeflatedAndZip64Archives) {
  const std::string pickle = pickle_state_dict({{.name = "t", .numel = 12, .shape = {12}, .strides = {1}}});
  for (const ZipOptions options :
       {ZipOptions{true, false}, ZipOptions{false, true}, ZipOptions{true, true}}) {
    const std::string file = torch_file(pickle, {{"0", kTwelve}}, options);
    EXPECT_EQ(to_float32(*parse(file).find("t")), counting(12));
  }
}

TEST(TorchPickleTest, ReadsOrderedDictionariesWithAttributesAndNewerProtocols) {
  const std::string tensor = pickle_tensor({.numel = 12, .shape = {12}, .strides = {1}});
  const std::string ordered =
      "\x80\x02"
      "ccollections\nOrderedDict\n)R(" +
      pickle_text("t") + tensor + "u}" + pickle_text("_metadata") + "ccollections\nOrderedDict\n)Rsb.";
  EXPECT_EQ(to_float32(*parse(torch_file(ordered, {{"0", kTwelve}})).find("t")), counting(12));

  std::string newer = std::string("\x80\x04\x95") + little(0, 8) + "}\x94\x8c\x01t\x94" + tensor + "s.";
  EXPECT_EQ(to_float32(*parse(torch_file(newer, {{"0", kTwelve}})).find("t")), counting(12));
}

TEST(TorchPickleTest, RefusesEveryOtherGlobalByName) {
  for (const auto& [code, name] : std::vector<std::pair<std::string, std::string>>{
           {"cos\nsystem\n(X\x04\x00\x00\x00"
            "true"
            "tR.",
            "os.system"},
           {"cposix\nsystem\n(X\x04\x00\x00\x00"
            "true"
            "tR.",
            "posix.system"},
           {"c__builtin__\neval\n(X\x01\x00\x00\x00"
            "1tR.",
            "__builtin__.eval"},
           {"cbuiltins\nexec\n.", "builtins.exec"},
           {"\x8c\x08"
            "builtins\x8c\x04"
            "eval\x93.",
            "builtins.eval"},
           {"(cos\nsystem\n.", "os.system"},
           {"ctorch\nload\n.", "torch.load"},
           {"ctorch.storage\nUntypedStorage\n.", "torch.storage.UntypedStorage"},
           {"ctorch._utils\n_rebuild_sparse_tensor\n.", "torch._utils._rebuild_sparse_tensor"},
           {"cnumpy.core.multiarray\n_reconstruct\n.", "numpy.core.multiarray._reconstruct"}}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(refusal(torch_file(std::string("\x80\x02", 2) + std::string(code), {})),
              "[pickle] x.bin: it asks for the global " + name +
                  ", which is no part of a plain tensor; nothing was executed");
  }
  EXPECT_EQ(refusal(torch_file("\x80\x02(ios\nsystem\n.", {})),
            "[pickle] x.bin: it asks for an instance of os.system, which is no part of a plain "
            "tensor; nothing was executed");
}

TEST(TorchPickleTest, RefusesWhatIsNoPlainDictionary) {
  EXPECT_EQ(refusal(torch_file("\x80\x02K\x05.", {})),
            "[pickle] x.bin: it holds an integer, not a dictionary of tensors");
  EXPECT_EQ(
      refusal(torch_file("\x80\x02}" + pickle_text("epoch") + "K\x05s.", {})),
      "[pickle] x.bin: \"epoch\" is an integer, not a tensor; only a plain dictionary of tensors is read");
  EXPECT_EQ(refusal(torch_file("\x80\x02}K\x05K\x05s.", {})),
            "[pickle] x.bin: a key of the dictionary is an integer, not a string");
  EXPECT_EQ(
      refusal(torch_file("\x80\x02}" + pickle_text("model") + "}s.", {})),
      "[pickle] x.bin: \"model\" is a dictionary, not a tensor; only a plain dictionary of tensors is read");
}

/// What PyTorch before 1.6 wrote: magic number, version, machine, object, order of storages, storages.
std::string legacy_file(const std::string& pickle,
                        const std::vector<std::pair<std::string, std::string>>& storages,
                        bool little_endian = true) {
  std::string file("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  file += "\x80\x02M\xe9\x03.";
  file += "\x80\x02}" + pickle_text("little_endian") + (little_endian ? "\x88" : "\x89") + "s.";
  file += pickle + "\x80\x02](";
  for (const auto& [key, bytes] : storages) file += pickle_text(key);
  file += "e.";
  for (const auto& [key, bytes] : storages) file += little(bytes.size() / 4, 8) + bytes;
  return file;
}

TEST(TorchPickleTest, ReadsTheFormatBefore16) {
  const std::string pickle =
      pickle_state_dict({{.name = "whole", .key = "9", .numel = 12, .shape = {3, 4}, .strides = {4, 1}},
                         {.name = "transposed", .key = "9", .numel = 12, .shape = {4, 3}, .strides = {1, 4}},
                         {.name = "other", .key = "7", .numel = 2, .shape = {2}, .strides = {1}}});
  const std::string file = legacy_file(pickle, {{"7", bytes_of(std::vector<float>{5, 6})}, {"9", kTwelve}});
  const TensorSet set = parse(file);
  EXPECT_EQ(to_float32(*set.find("whole")), counting(12));
  EXPECT_EQ(to_float32(*set.find("transposed")), (std::vector<float>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}));
  EXPECT_EQ(to_float32(*set.find("other")), (std::vector<float>{5, 6}));
  for (size_t size = 15; size < file.size(); ++size)
    EXPECT_NE(refusal(file.substr(0, size)), "accepted") << size;
  const auto two = std::pair(std::string("7"), bytes_of(std::vector<float>{5, 6}));
  EXPECT_NE(refusal(legacy_file(pickle, {two, {"9", kTwelve}}, false)).find("little-endian"),
            std::string::npos);
  EXPECT_NE(refusal(legacy_file(pickle, {two})).find("storage 9"), std::string::npos);
  EXPECT_NE(refusal(legacy_file(pickle, {two, two})).find("stands twice"), std::string::npos);
  EXPECT_NE(refusal(legacy_file(pickle, {two, {"8", kTwelve}})).find("no tensor uses"), std::string::npos);
  EXPECT_NE(refusal(legacy_file(pickle, {{"7", kTwelve}, {"9", kTwelve}})).find("should have 2 elements"),
            std::string::npos);
}

TEST(TorchPickleTest, StateDictsOfTrainingCheckpoints) {
  const std::string dict =
      pickle_state_dict({{.name = "w", .numel = 12, .shape = {3, 4}, .strides = {4, 1}}});
  const std::string inner = dict.substr(2, dict.size() - 3);  // without protocol and stop
  for (const std::string name : {"state_dict", "model", "model_state_dict", "module"}) {
    const std::string code = "\x80\x02}(" + pickle_text("epoch") + "K\x05" + pickle_text("args") + "}" +
                             pickle_text(name) + inner + "u.";
    EXPECT_EQ(to_float32(*parse(torch_file(code, {{"0", kTwelve}})).find("w")), counting(12)) << name;
  }
  const std::string beside = "\x80\x02}(" + pickle_text("step") + "K\x05" + pickle_text("none") + "N" +
                             pickle_text("w") +
                             pickle_tensor({.name = "w", .numel = 12, .shape = {12}, .strides = {1}}) + "u.";
  EXPECT_EQ(parse(torch_file(beside, {{"0", kTwelve}})).tensors().size(), 1u) << beside.size();
}

TEST(TorchPickleTest, RefusesTensorsThatDoNotFitTheirStorage) {
  const auto with = [](TensorPiece piece) {
    piece.name = "t";
    if (piece.numel == 0) piece.numel = 12;
    return refusal(torch_file(pickle_state_dict({piece}), {{"0", kTwelve}}));
  };
  EXPECT_EQ(with({.shape = {13}, .strides = {1}}),
            "[pickle] x.bin: the tensor \"t\" of shape [13], strides [1] and offset 0 reaches "
            "past its storage of 12 elements");
  EXPECT_NE(with({.offset = 1, .shape = {3, 4}, .strides = {4, 1}}).find("reaches past"), std::string::npos);
  EXPECT_NE(with({.offset = 13, .shape = {0}, .strides = {1}}).find("reaches past"), std::string::npos);
  EXPECT_NE(with({.shape = {3}, .strides = {int64_t{1} << 62}}).find("reaches past"), std::string::npos);
  EXPECT_NE(with({.offset = INT64_MAX, .shape = {3}, .strides = {1}}).find("reaches past"),
            std::string::npos);
  EXPECT_NE(with({.shape = {int64_t{1} << 40, int64_t{1} << 40}, .strides = {0, 0}}).find("impossible shape"),
            std::string::npos);
  EXPECT_NE(with({.shape = {int64_t{1} << 40}, .strides = {0}}).find("expands the file"), std::string::npos);
  EXPECT_NE(with({.shape = {-3}, .strides = {1}}).find("found -3"), std::string::npos);
  EXPECT_NE(with({.shape = {3}, .strides = {1, 1}}).find("1 sizes and 2 strides"), std::string::npos);
  EXPECT_NE(with({.numel = 11, .shape = {3}, .strides = {1}}).find("should have 11 elements"),
            std::string::npos);
  EXPECT_NE(
      with({.type = "HalfStorage", .shape = {3}, .strides = {1}}).find("should have 12 elements of F16"),
      std::string::npos);
  EXPECT_NE(with({.key = "9", .shape = {3}, .strides = {1}}).find("archive/data/9"), std::string::npos);
  EXPECT_NE(with({.key = "../0", .shape = {3}, .strides = {1}}).find("is missing"), std::string::npos);
}

TEST(TorchPickleTest, RefusesOtherFormatsByName) {
  EXPECT_EQ(refusal("<!DOCTYPE html>"),
            "[pickle] x.bin is not a zip archive, which pytorch_model.bin has to be");
  EXPECT_EQ(refusal(std::string(257, 'x') + "ustar  "),
            "[pickle] x.bin is a tar archive, the format of PyTorch before 0.2, which is not read");
  EXPECT_EQ(refusal(ZipBuilder().add("m/data.pkl", "x").add("m/constants.pkl", "x").finish()),
            "[pickle] x.bin is a TorchScript archive with code, not a dictionary of tensors");
  EXPECT_EQ(refusal(ZipBuilder().add("readme", "x").finish()), "[pickle] x.bin: the archive has no data.pkl");
  const std::string pickle = pickle_state_dict({});
  EXPECT_EQ(refusal(ZipBuilder().add("m/data.pkl", pickle).add("m/byteorder", "big").finish()),
            "[pickle] x.bin: the tensors are not in little-endian byte order");
  EXPECT_EQ(refusal(ZipBuilder().add("m/data.pkl", pickle).add("m/byteorder", "little").finish()),
            "accepted");
}

}  // namespace
}  // namespace qdqbert::io
