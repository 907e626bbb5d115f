#include <gtest/gtest.h>

#include "tests/support/digest.h"
#include "tests/tasks/tasks_golden.h"

namespace qdqbert::tasks {
namespace {

using testing::golden_dir;
using testing::GoldenFamily;
using testing::GoldenSkip;
using testing::read_json_lines;

struct Row {
  std::vector<int64_t> ids, mask, types;
  std::vector<text::Offset> offsets;
  std::vector<uint8_t> is_context;
};

Row row_of(const SquadFeatures& features, size_t i) {
  Row row;
  const size_t width = features.width(i);
  row.ids.resize(width);
  row.mask.resize(width);
  row.types.resize(width);
  features.fill(i, row.ids, row.mask, row.types);
  features.offsets(i, row.offsets, row.is_context);
  return row;
}

TEST(SquadGolden, Features) {
  GoldenFamily family("squad-features");
  for (const Json& line : read_json_lines(golden_dir() / "squad/features.jsonl"))
    family.run(line["file"], [&] {
      const FeatureSet set(line);
      const SquadFeatures features = SquadFeatures::build(set.examples, *set.tokenizer, set.options, 2);
      const auto splits = to_int64(set.file.at("row_splits")), sample = to_int64(set.file.at("sample")),
                 starts = to_int64(set.file.at("start_positions")),
                 ends = to_int64(set.file.at("end_positions")), ids = to_int64(set.file.at("input_ids")),
                 types = to_int64(set.file.at("token_type_ids")),
                 mask = to_int64(set.file.at("attention_mask")), offsets = to_int64(set.file.at("offsets")),
                 context = to_int64(set.file.at("is_context"));
      ASSERT_EQ(features.size(), sample.size());
      // Ids of the multilingual vocabulary do not fit int16 and may be stored wider; to_int64 reads both.
      for (size_t f = 0; f < features.size(); ++f) {
        const Row row = row_of(features, f);
        const auto begin = static_cast<size_t>(splits[f]), end = static_cast<size_t>(splits[f + 1]);
        ASSERT_EQ(row.ids.size(), end - begin) << "feature " << f;
        EXPECT_EQ(features[f].example, sample[f]);
        EXPECT_EQ(features[f].start_position, starts[f]) << "feature " << f;
        EXPECT_EQ(features[f].end_position, ends[f]) << "feature " << f;
        for (size_t t = begin; t < end; ++t) {
          ASSERT_EQ(row.ids[t - begin], ids[t]);
          ASSERT_EQ(row.types[t - begin], types[t]);
          ASSERT_EQ(row.mask[t - begin], mask[t]);
          ASSERT_EQ(row.is_context[t - begin], context[t]);
          ASSERT_EQ(row.offsets[t - begin].begin, offsets[2 * t]);
          ASSERT_EQ(row.offsets[t - begin].end, offsets[2 * t + 1]);
        }
      }
    });
}

TEST(SquadGolden, EdgeCases) {
  GoldenFamily family("squad-edge-cases");
  for (const Json& line : read_json_lines(golden_dir() / "squad/edge-cases.jsonl"))
    family.run(line["what"].get<std::string>() + (line["pad_to_max_length"] ? " padded" : ""), [&] {
      FeatureOptions options;
      options.max_length = line["max_seq_length"];
      options.stride = line["doc_stride"];
      options.pad_to_max_length = line["pad_to_max_length"];
      for (const bool labels : {true, false}) {
        const Json& want = line[labels ? "train" : "validation"];
        options.labels = labels;
        const auto build = [&] {
          return SquadFeatures::build({golden_example(line, "x")}, text::golden_tokenizer("uncased"),
                                      options);
        };
        if (want.contains("error")) {
          EXPECT_THROW(build(), InputError);
          continue;
        }
        // Without room beside the special tokens the original makes features
        // longer than the maximum; we refuse.
        if (options.max_length <= 3) {
          EXPECT_THROW(build(), InputError);
          continue;
        }
        const SquadFeatures features = build();
        ASSERT_EQ(features.size(), want["features"].get<size_t>());
        for (size_t f = 0; f < features.size(); ++f) {
          EXPECT_EQ(features.width(f), want["lengths"][f].get<size_t>());
          if (!labels) continue;
          EXPECT_EQ(features[f].start_position, want["start"][f].get<int32_t>());
          EXPECT_EQ(features[f].end_position, want["end"][f].get<int32_t>());
        }
      }
    });
}

void append(std::vector<int32_t>& out, const std::vector<int64_t>& values) {
  out.insert(out.end(), values.begin(), values.end());
}

TEST(SquadGolden, Whole) {
  GoldenFamily family("squad-whole");
  std::map<std::string, std::vector<SquadExample>> sets;
  const io::SafetensorsFile crcs = io::SafetensorsFile::open(golden_dir() / "squad/whole-crc.safetensors");
  for (const Json& want : read_json_lines(golden_dir() / "squad/whole.jsonl")) {
    const std::string set = want["set"];
    const std::string key =
        fmt::format("{}.{}-{}", set, want["max_seq_length"].get<int>(), want["doc_stride"].get<int>());
    const bool pad = want["pad_to_max_length"];
    family.run(key + (pad ? " padded" : ""), [&] {
      const auto path = testing::find_data(set);
      if (!path) throw GoldenSkip{"absent data set " + set};
      if (!sets.contains(set)) sets[set] = read_squad(*path);
      FeatureOptions options;
      options.max_length = want["max_seq_length"];
      options.stride = want["doc_stride"];
      options.pad_to_max_length = pad;
      const SquadFeatures features =
          SquadFeatures::build(sets[set], text::golden_tokenizer("uncased"), options, 2);
      EXPECT_EQ(sets[set].size(), want["questions"].get<size_t>());
      ASSERT_EQ(features.size(), want["features"].get<size_t>());
      const auto stored = [&](const std::string& kind) {
        const TensorView* tensor = pad ? crcs.find(key + "." + kind) : nullptr;
        return tensor ? to_int64(*tensor) : std::vector<int64_t>{};
      };
      const auto crc_validation = stored("validation"), crc_train = stored("train");
      testing::Sha1 sha_ids, sha_validation, sha_train, sha_labels;
      int64_t ones = 0, cls = 0;
      for (size_t f = 0; f < features.size(); ++f) {
        const Row row = row_of(features, f);
        std::vector<int32_t> common, validation, train;
        append(common, row.ids);
        sha_ids.update(common.data(), common.size() * 4);
        append(common, row.types);
        append(common, row.mask);
        validation = train = common;
        for (size_t t = 0; t < row.offsets.size(); ++t) {
          const auto begin = static_cast<int32_t>(row.offsets[t].begin),
                     end = static_cast<int32_t>(row.offsets[t].end);
          train.insert(train.end(), {begin, end});
          if (row.is_context[t]) {
            validation.insert(validation.end(), {begin, end});
          } else {
            validation.insert(validation.end(), {-1, -1});
          }
          ones += row.mask[t];
        }
        const int32_t labels[] = {features[f].start_position, features[f].end_position};
        train.insert(train.end(), {labels[0], labels[1]});
        cls += labels[0] == 0 && labels[1] == 0;
        sha_labels.update(labels, 8);
        sha_validation.update(validation.data(), validation.size() * 4);
        sha_train.update(train.data(), train.size() * 4);
        if (!crc_validation.empty()) {
          ASSERT_EQ(testing::crc32_of(validation.data(), validation.size() * 4), crc_validation[f])
              << "feature " << f;
        }
        if (!crc_train.empty()) {
          ASSERT_EQ(testing::crc32_of(train.data(), train.size() * 4), crc_train[f]) << "feature " << f;
        }
      }
      EXPECT_EQ(ones, want["tokens_with_mask_1"].get<int64_t>());
      const auto check = [&](const char* name, testing::Sha1& sha) {
        if (want.contains(name)) {
          EXPECT_EQ(sha.hex(), want[name].get<std::string>()) << name;
        }
      };
      check("sha1_input_ids", sha_ids);
      check("sha1_validation", sha_validation);
      check("sha1_train", sha_train);
      check("sha1_labels", sha_labels);
      if (want.contains("features_labelled_cls")) {
        EXPECT_EQ(cls, want["features_labelled_cls"].get<int64_t>());
      }
    });
  }
}

}  // namespace
}  // namespace qdqbert::tasks
