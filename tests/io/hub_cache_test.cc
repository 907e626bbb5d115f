#include "qdqbert/io/hub_cache.h"

#include <cstdlib>
#include <functional>
#include <map>
#include <optional>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

#include "tests/support/scratch_directory.h"

namespace qdqbert::io {
namespace {

namespace fs = std::filesystem;

using Variables = std::map<std::string, const char*>;

/// Sets environment variables (nullptr: unsets) until the end of the scope.
class Environment {
 public:
  explicit Environment(const Variables& values) {
    for (const auto& [name, value] : values) {
      const char* old = std::getenv(name.c_str());
      old_[name] = old ? std::optional<std::string>(old) : std::nullopt;
      value ? ::setenv(name.c_str(), value, 1) : ::unsetenv(name.c_str());
    }
  }
  ~Environment() {
    for (const auto& [name, value] : old_)
      value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
  }

 private:
  std::map<std::string, std::optional<std::string>> old_;
};

template <class E = InputError>
std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const E& error) {
    return error.what();
  }
  return "accepted";
}

void put_model(const fs::path& cache, const std::string& folder, const std::string& commit,
               const std::string& branch) {
  fs::create_directories(cache / folder / "snapshots" / commit);
  fs::create_directories(cache / folder / "refs");
  write_file(cache / folder / "snapshots" / commit / "config.json", "{}");
  write_file(cache / folder / "refs" / branch, commit + "\n");
}

TEST(HubCacheTest, VariablesInTheirOrder) {
  Variables set = {{"HF_HUB_CACHE", "/a"},
                   {"HUGGINGFACE_HUB_CACHE", "/b"},
                   {"HF_HOME", "/c"},
                   {"XDG_CACHE_HOME", "/d"},
                   {"HOME", "/e"}};
  const std::vector<std::pair<const char*, const char*>> expected = {{"HF_HUB_CACHE", "/a"},
                                                                     {"HUGGINGFACE_HUB_CACHE", "/b"},
                                                                     {"HF_HOME", "/c/hub"},
                                                                     {"XDG_CACHE_HOME", "/d/huggingface/hub"},
                                                                     {"HOME", "/e/.cache/huggingface/hub"}};
  for (const auto& [name, directory] : expected) {
    const Environment scope(set);
    EXPECT_EQ(hub_cache_directory(), directory);
    set[name] = nullptr;
  }
  const Environment scope(Variables{{"HF_HUB_CACHE", "~/x"}, {"HOME", "/e"}});
  EXPECT_EQ(hub_cache_directory(), "/e/x");
}

TEST(HubCacheTest, ResolvesNamesRevisionsAndPaths) {
  const ScratchDirectory scratch;
  const fs::path cache = scratch.path();
  put_model(cache, "models--deepset--bert-squad", "abc123", "main");
  put_model(cache, "models--deepset--bert-squad", "def456", "v2");
  put_model(cache, "models--google-bert--bert-base-uncased", "fed", "main");
  EXPECT_EQ(resolve_model("deepset/bert-squad", "main", cache),
            cache / "models--deepset--bert-squad/snapshots/abc123");
  EXPECT_EQ(resolve_model("deepset/bert-squad", "v2", cache),
            cache / "models--deepset--bert-squad/snapshots/def456");
  EXPECT_EQ(resolve_model("deepset/bert-squad", "abc123", cache),
            cache / "models--deepset--bert-squad/snapshots/abc123");
  EXPECT_EQ(resolve_model("bert-base-uncased", "main", cache),
            cache / "models--google-bert--bert-base-uncased/snapshots/fed");
  put_model(cache, "models--bert-base-uncased", "old", "main");
  EXPECT_EQ(resolve_model("bert-base-uncased", "main", cache),
            cache / "models--bert-base-uncased/snapshots/old");
  EXPECT_EQ(resolve_model(cache.string()), cache);
  const Environment scope(Variables{{"HF_HUB_CACHE", cache.c_str()}});
  EXPECT_EQ(resolve_model("deepset/bert-squad"), cache / "models--deepset--bert-squad/snapshots/abc123");
}

TEST(HubCacheTest, SaysWhatIsAbsent) {
  const ScratchDirectory scratch;
  const fs::path cache = scratch.path();
  put_model(cache, "models--deepset--bert-squad", "abc123", "main");
  EXPECT_EQ(refusal([&] { resolve_model("nobody/nothing", "main", cache); }),
            "[model] there is no directory nobody/nothing, and the Hugging Face cache " + cache.string() +
                " does not have a model of that name; download it with `huggingface-cli download "
                "nobody/nothing` or pass a directory");
  EXPECT_EQ(refusal([&] { resolve_model("deepset/bert-squad", "v9", cache); }),
            "[model] the Hugging Face cache " + cache.string() +
                " has deepset/bert-squad, but not its revision \"v9\"");
  for (const char* name : {"../../no-such-folder-here", "a/b/c", "/absent/path", "-x", "a b", "a/", ""})
    EXPECT_NE(refusal([&] { resolve_model(name, "main", cache); }), "accepted") << name;
  EXPECT_NE(refusal([&] { resolve_model("deepset/bert-squad", "../../x", cache); }), "accepted");
  write_file(cache / "models--deepset--bert-squad/refs/evil", "../../..");
  EXPECT_NE(refusal([&] { resolve_model("deepset/bert-squad", "evil", cache); }), "accepted");
  EXPECT_NE(refusal([&] { resolve_model("deepset/bert-squad", ".", cache); }), "accepted");
}

TEST(HubCacheTest, FindsSquadFilesByEitherName) {
  const ScratchDirectory scratch;
  fs::create_directories(scratch / "one");
  fs::create_directories(scratch / "two/squad");
  write_file(scratch / "one/squad-v1.1-dev.json.gz", "x");
  write_file(scratch / "two/squad/train-v1.1.json", "x");
  write_file(scratch / "two/dev-v2.0.json", "x");
  const std::vector<fs::path> directories = {scratch / "one", scratch / "two"};
  const DatasetFiles squad = find_dataset("squad", directories);
  EXPECT_EQ(squad.file(Split::kValidation), scratch / "one/squad-v1.1-dev.json.gz");
  EXPECT_EQ(squad.file(Split::kTrain), scratch / "two/squad/train-v1.1.json");
  const DatasetFiles second = find_dataset("squad_v2", directories);
  EXPECT_TRUE(second.has(Split::kValidation));
  EXPECT_FALSE(second.has(Split::kTrain));
  const std::string text = refusal([&] { second.file(Split::kTrain); });
  EXPECT_EQ(text.find("[data] the train split of squad_v2 is not there: "
                      "looked for squad-v2.0-train.json[.gz], train-v2.0.json"),
            0u)
      << text;
  EXPECT_NE(text.find((scratch / "one").string()), std::string::npos) << text;
  EXPECT_NE(refusal([&] { find_dataset("squad", {scratch.path()}); }).find("squad is not there"),
            std::string::npos);
  EXPECT_NE(refusal<UsageError>([&] { find_dataset("glue", directories); }).find("\"glue\" is unknown"),
            std::string::npos);
}

TEST(HubCacheTest, DataDirectoriesInTheirOrder) {
  const Environment scope(Variables{{"QDQBERT_DATA_DIR", "/x::/y"}});
  const auto directories = data_directories("/flag");
  ASSERT_EQ(directories.size(), 5u);
  EXPECT_EQ(directories[0], "/flag");
  EXPECT_EQ(directories[1], "/x");
  EXPECT_EQ(directories[2], "/y");
  EXPECT_EQ(directories[3], "data");
  EXPECT_EQ(directories[4].filename(), "data");
}

}  // namespace
}  // namespace qdqbert::io
