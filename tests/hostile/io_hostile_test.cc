// Files that are damaged or meant to do harm: each is refused with one sentence, and none crashes, reads out
// of bounds or leaves something half-written. Run under ASan and UBSan by the asan-ubsan preset.
#include <csignal>
#include <functional>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/io/bert_config.h"
#include "qdqbert/io/checkpoint.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/io/torch_pickle.h"

#include "tests/io/archive_builder.h"
#include "tests/support/refusal.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::io {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

using testing::refusal;

/// Reads every byte that the views promise.
size_t touch(const std::vector<NamedTensor>& tensors) {
  size_t sum = 0;
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(static_cast<size_t>(tensor.count()) * size_of(tensor.dtype), tensor.data.size()) << name;
    for (const std::byte b : tensor.data) sum += static_cast<size_t>(b);
  }
  return sum;
}

// ---- safetensors

std::string safetensors(const std::string& header, const std::string& data = "") {
  return little(header.size(), 8) + header + data;
}

std::string read_safetensors(const std::string& file) {
  return refusal([&] { touch(SafetensorsFile::parse(bytes(file), "x").tensors()); });
}

std::string small_safetensors() {
  const std::vector<float> values = {1, 2, 3, 4};
  const std::vector<int64_t> ids = {5};
  const OwnedTensor matrix = make_tensor({2, 2}, values), id = make_tensor({1}, ids);
  const std::vector<NamedTensor> tensors = {{"w", matrix.view()}, {"i", id.view()}};
  std::vector<size_t> order;
  std::string file = safetensors_header(tensors, {{"format", "pt"}}, order);
  for (const size_t i : order)
    file.append(reinterpret_cast<const char*>(tensors[i].tensor.data.data()), tensors[i].tensor.data.size());
  return file;
}

TEST(HostileSafetensorsTest, EveryTruncation) {
  const std::string file = small_safetensors();
  EXPECT_EQ(read_safetensors(file), "");
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_NE(read_safetensors(file.substr(0, size)), "") << size;
  EXPECT_NE(read_safetensors(file + "x"), "");
}

TEST(HostileSafetensorsTest, EveryBitFlip) {
  const std::string file = small_safetensors();
  for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
    std::string flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    read_safetensors(flipped);
  }
}

TEST(HostileSafetensorsTest, EveryByteReplaced) {
  const std::string file = small_safetensors();
  for (size_t i = 0; i < file.size(); ++i)
    for (const char c : {'\0', '"', '\\', '{', '}', '[', ']', ',', '-', '9', 'e', '\xff'}) {
      std::string changed = file;
      changed[i] = c;
      read_safetensors(changed);
    }
}

TEST(HostileSafetensorsTest, NamedFaults) {
  const std::string four(16, '\1'), two(8, '\1');
  const auto expect = [](const std::string& file, const std::string& text) {
    const std::string message = read_safetensors(file);
    EXPECT_NE(message.find(text), std::string::npos) << "got: " << message;
  };
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  expect("", "0 bytes are too few");
  expect(std::string(8, '\xff') + "{}", "the header size 18446744073709551615 is above the limit");
  expect(little(100'000'001, 8) + "{}", "above the limit of 100000000 bytes");
  expect(little(50, 8) + "{}", "the header needs 50 bytes, the file has 2");
  expect(little(0, 8), "does not start with '{'");
  expect(safetensors("[]"), "does not start with '{'");
  expect(safetensors(" {}"), "does not start with '{'");
  expect(safetensors("{"), "not valid JSON at byte 9");
  expect(safetensors("{}{}"), "not valid JSON");
  expect(safetensors(std::string("{}\0", 3)), "not valid JSON");
  expect(safetensors("{\"\xff\":1}"), "not valid UTF-8 at byte 10");
  expect(safetensors("{" + a + "," + a + "}", two), "the name \"a\" appears twice");
  expect(safetensors("{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", four),
         "before the end of the one before");
  expect(safetensors("{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", two),
         "before the end of the one before");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})", four),
         "leaving a hole after");
  expect(safetensors("{" + a + "}", four), "the tensors end at byte 8 of the data, the file has 16");
  expect(safetensors("{" + a + "}", "abc"), "claims bytes 0 to 8, the file has 3");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", two),
         "claims bytes 8 to 0");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}})", two),
         "claims bytes");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616]}})", two),
         "must be a list of non-negative integers");
  expect(safetensors(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,8]}})", two),
         "needs 4 bytes, its offsets span 8");
  expect(safetensors(R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})", two),
         "\"F8_E4M3\", which is not supported");
  expect(safetensors(R"({"a":{"dtype":"nonsense","shape":[8],"data_offsets":[0,8]}})", two),
         "\"nonsense\", which is not supported");
  expect(safetensors(R"({"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}})", two),
         "dtype must be a string, found the number 32");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", two),
         "shape must be a list of non-negative integers, found the number -2");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", two),
         "found the number 2.0");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", two), "shape must be a list");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", two), "found an array");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", two),
         "needs two data_offsets, has 1");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})", two),
         "found a third number");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}})", two),
         "has its shape twice");
  expect(safetensors(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", two), "has no dtype");
  expect(safetensors(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", two), "has no shape");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[2]}})", two), "has no data_offsets");
  expect(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", two),
         "the unknown field \"x\"");
  expect(safetensors(R"({"a":5})"), "must be an object with dtype");
  expect(safetensors(R"({"__metadata__":{"a":1}})"), "must be a string, found the number 1");
  expect(safetensors(R"({"__metadata__":{"a":"b","a":"c"}})"), "the metadata key \"a\" appears twice");
  expect(safetensors(R"({"__metadata__":{"a":{}}})"), "found an object");
  expect(
      safetensors(
          R"({"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,8]}})",
          two),
      "impossible shape");
  expect(safetensors("{\"a\":" + std::string(1'000'000, '[')), "must be an object");
  expect(safetensors("{\"" + std::string(1'000'000, 'n') + "\\n\\u001b[31m\":5}"), " ... ");
}

// ---- pytorch_model.bin

std::string read_pickle(const std::string& file) {
  return refusal([&] { touch(parse_torch_pickle(bytes(file), "x").tensors()); });
}

std::string small_pickle_file(ZipOptions options = {}) {
  return torch_file(
      pickle_state_dict(
          {{.name = "a", .numel = 4, .shape = {2, 2}, .strides = {1, 2}},
           {.name = "b", .numel = 4, .offset = 1, .shape = {3}, .strides = {1}, .parameter = true}}),
      {{"0", bytes_of(std::vector<float>{1, 2, 3, 4})}}, options);
}

TEST(HostilePickleTest, EveryTruncation) {
  for (const ZipOptions options : {ZipOptions{}, ZipOptions{true, false}, ZipOptions{false, true}}) {
    const std::string file = small_pickle_file(options);
    EXPECT_EQ(read_pickle(file), "");
    for (size_t size = 0; size < file.size(); ++size)
      EXPECT_NE(read_pickle(file.substr(0, size)), "") << size;
  }
}

TEST(HostilePickleTest, EveryBitFlip) {
  for (const ZipOptions options : {ZipOptions{}, ZipOptions{true, false}, ZipOptions{false, true}}) {
    const std::string file = small_pickle_file(options);
    for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
      std::string flipped = file;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      read_pickle(flipped);
    }
  }
}

TEST(HostilePickleTest, EveryBitFlipOfThePickleBehindAValidChecksum) {
  const std::string pickle =
      pickle_state_dict({{.name = "a", .numel = 4, .shape = {2, 2}, .strides = {1, 2}, .parameter = true}});
  for (size_t bit = 0; bit < 8 * pickle.size(); ++bit) {
    std::string flipped = pickle;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    read_pickle(torch_file(flipped, {{"0", std::string(16, '\1')}}));
  }
  for (size_t size = 0; size < pickle.size(); ++size)
    EXPECT_NE(read_pickle(torch_file(pickle.substr(0, size), {})), "") << size;
}

TEST(HostilePickleTest, NothingIsEverCalled) {
  const ScratchDirectory scratch;
  const std::string command = "touch " + (scratch / "called").string();
  for (const char* global :
       {"os\nsystem", "posix\nsystem", "subprocess\nPopen", "builtins\neval", "builtins\nexec",
        "__builtin__\napply", "nt\nsystem", "webbrowser\nopen", "torch\nload", "functools\npartial"})
    for (const std::string& code :
         {std::string("\x80\x02}") + pickle_text("a") + "c" + global + "\n(" + pickle_text(command) + "tRs.",
          std::string("\x80\x02}") + pickle_text("a") + "(" + pickle_text(command) + "i" + global + "\ns.",
          std::string("\x80\x02") + "c" + global + "\n(" + pickle_text(command) + "t\x81.",
          std::string("\x80\x02(c") + global + "\n" + pickle_text(command) + "o."}) {
      const std::string message = read_pickle(torch_file(code, {}));
      EXPECT_NE(message.find("nothing was executed"), std::string::npos) << message;
    }
  EXPECT_FALSE(fs::exists(scratch / "called"));
}

TEST(HostilePickleTest, MachineFaults) {
  const auto expect = [](const std::string& code, const std::string& text) {
    const std::string message = read_pickle(torch_file("\x80\x02" + code, {}));
    EXPECT_NE(message.find(text), std::string::npos) << "got: " << message;
  };
  expect("", "1 more bytes are needed, 0 are left");
  expect(".", "the stack is empty");
  expect("(.", "a mark stands where a value is needed");
  expect("u.", "there is no mark");
  expect("h\x05.", "memo 5 was never set");
  expect("q\x05.", "the stack is empty");
  expect("X" + little(0xffffffff, 4) + ".", "4294967295 more bytes are needed");
  expect("\x8d" + little(~uint64_t{0}, 8) + ".", "more bytes are needed");
  expect("X" + little(1, 4) + "\xff.", "not valid UTF-8");
  expect("\x8a\xff" + std::string(255, '\1'), "an integer of 255 bytes is too large");
  expect("K\x01(K\x02u.", "items are set on an integer");
  expect("}(K\x02u.", "a key has no value");
  expect(
      "}K\x01"
      "b.",
      "attributes are set on a dictionary");
  expect("ccollections\nOrderedDict\n(K\x01tR.", "an ordered dictionary is made from something");
  expect("ctorch\nFloatStorage\n)R.", "torch.FloatStorage is called");
  expect("K\x01)R.", "an integer is called");
  expect("ctorch._utils\n_rebuild_tensor_v2\n)R.", "not made from a storage");
  expect("ctorch._utils\n_rebuild_parameter\n)R.", "not made from a tensor");
  expect("K\x01Q.", "not a tuple of five");
  expect("\x80\x09", "protocol 9 is not between 2 and 5");
  expect("cos", "a line has no end");
  expect("\x81", "the opcode 0x81");
  expect(std::string(9'000'000, 'N') + ".", "more than 8000000 values");
}

TEST(HostilePickleTest, DeepNestingNeedsNoStack) {
  std::string code = "\x80\x02)";
  code.append(3'000'000, '\x85');
  EXPECT_NE(read_pickle(torch_file(code + ".", {})), "");
  // A dictionary that contains itself.
  EXPECT_NE(read_pickle(torch_file(std::string("\x80\x02}q\x00"
                                               "X\x01\x00\x00\x00"
                                               "ah\x00s.",
                                               16),
                                   {})),
            "");
}

TEST(HostileZipTest, Bombs) {
  const auto expect = [](const std::string& file, const std::string& text) {
    const std::string message = read_pickle(file);
    EXPECT_NE(message.find(text), std::string::npos) << "got: " << message;
  };
  const ZipOptions deflated{true, false}, large{true, true};
  const auto zeros = [](size_t count) {
    return ZipBuilder().add("m/data.pkl", std::string(count, '\0'), {true, false}).finish();
  };
  expect(zeros(300'000'000), "refused as a zip bomb");
  expect(ZipBuilder().add_raw("m/data.pkl", "xx", uint64_t{1} << 60, 0, large).finish(),
         "refused as a zip bomb");
  expect(ZipBuilder().add_raw("m/data.pkl", "xx", 60'000'000, 0, deflated).finish(),
         "more than its 2 can expand to");
  expect(ZipBuilder().add_raw("m/data.pkl", "xx", 64, 0, deflated).finish(),
         "does not inflate to its 64 bytes");
  ZipBuilder many;
  for (int i = 0; i < 400; ++i)
    many.add_raw("m/" + std::to_string(i), std::string(1000, 'x'), 1'000'000, 0, deflated);
  expect(many.finish(), "refused as a zip bomb");

  // An entry that inflates to more than it states stops at what it states.
  const std::string honest = ZipBuilder().add("m/data.pkl", std::string(100'000, '\0'), deflated).finish();
  std::string lying = honest;
  for (const size_t at : {size_t{22}, honest.find("PK\x01\x02") + 24}) lying.replace(at, 4, little(50, 4));
  expect(lying, "does not inflate to its 50 bytes");

  // Two directory entries for the same bytes.
  const std::string one = ZipBuilder().add("m/data.pkl", "hello").finish();
  const size_t directory = one.find("PK\x01\x02"), end = one.find("PK\x05\x06");
  std::string record = one.substr(directory, end - directory);
  expect(one.substr(0, end) + record + "PK\x05\x06" + little(0, 4) + little(2, 2) + little(2, 2) +
             little(2 * record.size(), 4) + little(directory, 4) + little(0, 2),
         "appears twice");
  ZipBuilder overlapping;
  overlapping.add_raw("m/a", ZipBuilder().add("m/b", "hello").finish().substr(0, 38), 38, 0, {});
  std::string outer = overlapping.finish();
  const size_t outer_directory = outer.find("PK\x01\x02"), outer_end = outer.find("PK\x05\x06");
  std::string inner = record;
  inner.replace(46, 10, "m/b");
  inner.replace(28, 2, little(3, 2));
  inner.replace(42, 4, little(33, 4));
  const std::string both = outer.substr(outer_directory, outer_end - outer_directory) + inner;
  expect(outer.substr(0, outer_directory) + both + "PK\x05\x06" + little(0, 4) + little(2, 2) + little(2, 2) +
             little(both.size(), 4) + little(outer_directory, 4) + little(0, 2),
         "share the bytes");

  std::string damaged = small_pickle_file();
  damaged[60] ^= 1;  // inside the pickle
  expect(damaged, "is damaged: its checksum is");
  std::string encrypted = one;
  encrypted[directory + 8] = 1;
  expect(encrypted, "is encrypted");
  std::string method = one;
  method[directory + 10] = 12;
  expect(method, "uses the compression method 12");
  std::string elsewhere = one;
  elsewhere[directory + 42] = 3;
  expect(elsewhere, "is not where the directory says");
}

// ---- config.json and index files

TEST(HostileConfigTest, EveryTruncationAndBitFlip) {
  BertConfig config = *builtin_config("minilm-l6");
  config.set_num_labels(3);
  config.pruned_heads = {{1, {0, 2}}};
  const std::string text = dump_json(to_json(config), {.final_newline = true});
  const auto read = [](const std::string& json) {
    return refusal([&] { parse_config(parse_json(json, "x"), "x"); });
  };
  EXPECT_EQ(read(text), "");
  for (size_t size = 0; size + 2 < text.size(); ++size) EXPECT_NE(read(text.substr(0, size)), "") << size;
  for (size_t bit = 0; bit < 8 * text.size(); ++bit) {
    std::string flipped = text;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    read(flipped);
  }
}

TEST(HostileConfigTest, NamedFaults) {
  const auto expect = [](const std::string& json, const std::string& text) {
    const std::string message = refusal([&] { parse_config(parse_json(json, "x"), "x"); });
    EXPECT_NE(message.find(text), std::string::npos) << "got: " << message;
  };
  expect(R"({"hidden_act": "selu"})", "hidden_act \"selu\" is unknown");
  expect(R"({"hidden_act": null})", "hidden_act must be a string, found null");
  expect(R"({"hidden_size": 384, "num_attention_heads": 7})",
         "hidden_size 384 is not a multiple of num_attention_heads 7");
  for (const char* size : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                           "intermediate_size", "max_position_embeddings", "type_vocab_size"}) {
    expect(fmt::format(R"({{"{}": -1}})", size), "must be at least 1, found -1");
    expect(fmt::format(R"({{"{}": 0}})", size), "must be at least 1, found 0");
    expect(fmt::format(R"({{"{}": 9223372036854775807}})", size), "above the limit");
    expect(fmt::format(R"({{"{}": 18446744073709551615}})", size), "an integer below 2^63");
    expect(fmt::format(R"({{"{}": 1e400}})", size), "a number that no double can hold");
    expect(fmt::format(R"({{"{}": 1.5}})", size), "must be an integer");
    expect(fmt::format(R"({{"{}": null}})", size), "must be an integer");
    expect(fmt::format(R"({{"{}": [1]}})", size), "must be an integer");
  }
  expect(R"({"layer_norm_eps": -1})", "must not be negative");
  expect(R"({"num_labels": -1})", "num_labels must be between");
  expect(R"({"num_labels": 99999999999})", "num_labels must be between");
  expect(R"({"id2label": {}})", "no label");
  expect(R"({"id2label": {"0": [1]}})", "an object of texts");
  expect(R"({"id2label": [1]})", "id2label must be an object");
  expect(R"({"label2id": 5})", "label2id must be an object");
  expect(R"({"pruned_heads": {"0": [-1]}})", "names head -1");
  expect(R"({"pruned_heads": {"-1": [0]}})", "names layer -1");
  expect(R"({"pruned_heads": {"0": [0,1,2,3,4,5,6,7,8,9,10,11]}})", "removes all 12 heads");
  expect(R"({"architectures": "BertModel"})", "architectures must be a list");
  expect(R"({"model_type": "gpt2"})", "\"gpt2\" is not supported");
  expect(std::string(100'000, '['), "nested deeper");
  expect("", "not valid JSON");
}

TEST(HostileIndexTest, WrongFilesAreRefused) {
  const ScratchDirectory scratch;
  for (const char* index : {"", "[]", "{}", "{\"weight_map\": 5}", "{\"weight_map\": {\"a\": null}}",
                            "{\"weight_map\": {\"a\": \"\"}}", "{\"weight_map\": {\"a\": \"..\"}}",
                            "{\"weight_map\": {\"a\": \"model.safetensors.index.json\"}}"}) {
    write_file(scratch / "model.safetensors.index.json", index);
    EXPECT_NE(refusal([&] { Checkpoint::open(scratch.path()); }), "") << index;
  }
}

// ---- writing

class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t largest) {
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit low = {largest, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &low);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int);
};

TEST(HostileWritingTest, ADiskThatFillsLosesNothing) {
  const ScratchDirectory scratch;
  const std::vector<float> old_values(1000, 1.0f), new_values(1'000'000, 2.0f);
  const OwnedTensor old_tensor = make_tensor({1000}, old_values),
                    new_tensor = make_tensor({1'000'000}, new_values);
  save_checkpoint(scratch.path(), std::vector<NamedTensor>{{"w", old_tensor.view()}}, BertConfig());
  const std::string model = read_file(scratch / "model.safetensors"),
                    config = read_file(scratch / "config.json");
  std::string message;
  {
    const FileSizeLimit limit(100'000);
    BertConfig other;
    other.hidden_size = 36;
    try {
      save_checkpoint(scratch.path(), std::vector<NamedTensor>{{"w", new_tensor.view()}}, other);
    } catch (const SystemError& error) {
      message = error.what();
    }
  }
  EXPECT_NE(message.find("model.safetensors"), std::string::npos) << message;
  EXPECT_NE(message.find("what was there before is unchanged"), std::string::npos) << message;
  EXPECT_EQ(read_file(scratch / "model.safetensors"), model);
  EXPECT_EQ(read_file(scratch / "config.json"), config);
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(scratch.path())) ++files;
  EXPECT_EQ(files, 2u) << "nothing temporary is left";
  EXPECT_EQ(to_float32(Checkpoint::open(scratch.path()).at("w")), old_values);
}

TEST(HostileWritingTest, PlacesThatCannotBeWritten) {
  const ScratchDirectory scratch;
  write_file(scratch / "file", "x");
  const OwnedTensor tensor = make_tensor({1}, std::vector<float>{1});
  const std::vector<NamedTensor> tensors = {{"w", tensor.view()}};
  EXPECT_NE(refusal([&] { save_checkpoint(scratch / "file", tensors, BertConfig()); }), "");
  EXPECT_NE(refusal([&] { save_checkpoint(scratch / "file/below", tensors, BertConfig()); }), "");
  EXPECT_NE(refusal([&] { save_checkpoint("/proc/qdqbert", tensors, BertConfig()); }), "");
  EXPECT_EQ(read_file(scratch / "file"), "x");
}

}  // namespace
}  // namespace qdqbert::io
