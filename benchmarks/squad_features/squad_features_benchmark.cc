// Times building the training features of a SQuAD file and writing all their rows. Prints one JSON object
// with the peak memory after each phase; --crc FILE writes one CRC-32 per feature (int32: input ids, start,
// end) for comparison with another implementation.
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <sys/resource.h>
#include <zlib.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/tasks/squad_features.h"

namespace {

using namespace qdqbert;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// Every row once into a buffer of its thread;
/// returns the sum of all input ids so that the work is not left out.
int64_t write_rows(const tasks::SquadFeatures& features, int threads) {
  constexpr size_t kGrain = 256;
  std::vector<int64_t> sums((features.size() + kGrain - 1) / kGrain);
  parallel_for(features.size(), kGrain, threads, [&](size_t begin, size_t end) {
    std::vector<int64_t> ids, mask, types;
    for (size_t f = begin; f < end; ++f) {
      const size_t width = features.width(f);
      ids.resize(width);
      mask.resize(width);
      types.resize(width);
      features.fill(f, ids, mask, types);
      for (const int64_t id : ids) sums[begin / kGrain] += id;
    }
  });
  int64_t sum = 0;
  for (const int64_t part : sums) sum += part;
  return sum;
}

void write_crcs(const tasks::SquadFeatures& features, const std::string& path) {
  AtomicFile file(path);
  std::vector<int64_t> ids, mask, types;
  std::vector<int32_t> row;
  for (size_t f = 0; f < features.size(); ++f) {
    const size_t width = features.width(f);
    ids.resize(width);
    mask.resize(width);
    types.resize(width);
    features.fill(f, ids, mask, types);
    row.assign(ids.begin(), ids.end());
    row.push_back(features[f].start_position);
    row.push_back(features[f].end_position);
    const auto crc = static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(row.data()),
                                                 static_cast<uInt>(row.size() * sizeof(int32_t))));
    file.write(std::as_bytes(std::span(&crc, 1)));
  }
  file.commit();
}

int run(int argc, char** argv) {
  std::string vocabulary, data, crc;
  tasks::FeatureOptions options;
  int rounds = 3, threads = default_threads();
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    if (i + 1 == argc) fail<UsageError>("[benchmark] {} needs a value", flag);
    const std::string value = argv[i + 1];
    if (flag == "--vocab") {
      vocabulary = value;
    } else if (flag == "--data") {
      data = value;
    } else if (flag == "--crc") {
      crc = value;
    } else if (flag == "--rounds") {
      rounds = std::stoi(value);
    } else if (flag == "--threads") {
      threads = std::stoi(value);
    } else if (flag == "--max-length") {
      options.max_length = std::stoi(value);
    } else if (flag == "--stride") {
      options.stride = std::stoi(value);
    } else {
      fail<UsageError>("[benchmark] there is no flag {}", flag);
    }
  }
  const auto tokenizer = text::Tokenizer::from_vocabulary(vocabulary);
  Json out;
  auto start = Clock::now();
  const auto examples = tasks::read_squad(data);
  out["read_seconds"] = seconds_since(start);
  out["read_peak_mb"] = peak_megabytes();
  double build = 1e30, rows = 1e30;
  size_t count = 0;
  for (int round = 0; round < rounds; ++round) {
    start = Clock::now();
    const auto features = tasks::SquadFeatures::build(examples, tokenizer, options, threads);
    build = std::min(build, seconds_since(start));
    count = features.size();
    start = Clock::now();
    out["sum_of_ids"] = write_rows(features, threads);
    rows = std::min(rows, seconds_since(start));
    if (round == 0 && !crc.empty()) write_crcs(features, crc);
  }
  out["questions"] = examples.size();
  out["features"] = count;
  out["threads"] = threads;
  out["build_seconds"] = build;
  out["rows_seconds"] = rows;
  out["features_per_second"] = static_cast<double>(count) / build;
  out["features_per_second_with_rows"] = static_cast<double>(count) / (build + rows);
  out["peak_mb"] = peak_megabytes();
  std::printf("%s\n", dump_json(out).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
