// Our engine behind the same line protocol as peer_worker.py: one JSON object a line on stdin, one answer a
// line on stdout, so that compare.py can let all engines take turns in one run.
//
//   {"do": "load", "id", "model", "threads", "streams", "isa", "precision"}  -> seconds, isa, resident_mb
//   {"do": "run", "id", "input", "output"}                                   -> outputs as raw float32
//   {"do": "time", "id", "input", "seconds"}                                 -> runs (seconds each), elapsed
//   {"do": "mixed", "id", "lengths", "budget"}                               -> seconds for all texts, packed
//   {"do": "forget", "id"}
//
// An input file is int32: batch, length, `batch` text lengths, batch * length ids. Ids are the same for all.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/engine/session.h"

namespace {

using namespace qdqbert;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double resident_megabytes() {
  long pages = 0, resident = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return static_cast<double>(resident) * 4096 / (1 << 20);
}

struct Input {
  size_t batch = 0, length = 0;
  std::vector<int32_t> ids, mask;

  explicit Input(const std::string& path) {
    const std::string bytes = read_file(path);
    std::vector<int32_t> numbers(bytes.size() / sizeof(int32_t));
    std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(int32_t));
    if (numbers.size() >= 2) {
      batch = static_cast<size_t>(numbers[0]);
      length = static_cast<size_t>(numbers[1]);
    }
    if (numbers.size() != 2 + batch + batch * length) fail("[{}] is not an input file", path);
    mask.resize(batch * length);
    for (size_t b = 0; b < batch; ++b)
      std::fill_n(mask.begin() + static_cast<ptrdiff_t>(b * length), numbers[2 + b], 1);
    ids.assign(numbers.begin() + 2 + static_cast<ptrdiff_t>(batch), numbers.end());
  }

  engine::PaddedBatch<int32_t> padded() const { return {batch, length, ids, mask, {}}; }
};

struct Loaded {
  std::unique_ptr<engine::Session> session;
  int streams = 1;
};

engine::Precision precision_named(const std::string& name) {
  if (name == "f32") return engine::Precision::kFloat32;
  if (name == "bf16") return engine::Precision::kBFloat16;
  return engine::Precision::kAuto;
}

Json load(std::map<std::string, Loaded>& sessions, const Json& command) {
  engine::SessionOptions options;
  options.streams = command.value("streams", 1);
  options.threads = std::max(1, command.value("threads", 1) / options.streams);
  options.precision = precision_named(command.value("precision", "auto"));
  const std::string isa = command.value("isa", "");
  if (!isa.empty()) {
    options.isa = isa_named(isa);
    if (!options.isa || !supports(*options.isa)) fail<UsageError>("[isa] {} does not run here", isa);
  }
  const auto start = Clock::now();
  auto session = std::make_unique<engine::Session>(command.at("model").get<std::string>(), options);
  Json answer;
  answer["seconds"] = seconds_since(start);
  answer["isa"] = std::string(name_of(session->isa()));
  answer["resident_mb"] = resident_megabytes();
  sessions[command.at("id")] = {std::move(session), options.streams};
  return answer;
}

Json run(const Loaded& loaded, const Json& command) {
  const Input input(command.at("input"));
  AtomicFile file(command.at("output").get<std::string>());
  for (const engine::Output& output : loaded.session->run(input.padded()))
    file.write(std::as_bytes(std::span(output.values)));
  file.commit();
  return Json::object();
}

Json time(const Loaded& loaded, const Json& command) {
  const Input input(command.at("input"));
  const double seconds = command.at("seconds");
  std::vector<std::vector<double>> runs(static_cast<size_t>(loaded.streams));
  const auto start = Clock::now();
  const auto caller = [&](size_t stream) {
    do {
      const auto begin = Clock::now();
      loaded.session->run(input.padded());
      runs[stream].push_back(seconds_since(begin));
    } while (seconds_since(start) < seconds);
  };
  std::vector<std::thread> others;
  for (size_t stream = 1; stream < runs.size(); ++stream) others.emplace_back(caller, stream);
  caller(0);
  for (std::thread& other : others) other.join();
  Json answer;
  answer["elapsed"] = seconds_since(start);
  for (const auto& list : runs)
    for (const double value : list) answer["runs"].push_back(value);
  return answer;
}

/// Texts in the order given, as many in a batch as the token budget allows.
Json mixed(const Loaded& loaded, const Json& command) {
  const auto lengths = command.at("lengths").get<std::vector<uint32_t>>();
  const uint32_t budget = command.at("budget");
  std::vector<int32_t> ids;
  std::vector<uint32_t> offsets;
  const auto start = Clock::now();
  for (size_t next = 0; next < lengths.size();) {
    offsets.assign(1, 0);
    do {
      offsets.push_back(offsets.back() + lengths[next++]);
    } while (next < lengths.size() && offsets.back() + lengths[next] <= budget);
    ids.resize(offsets.back());
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(1000 + i * 7919 % 20000);
    loaded.session->run(engine::PackedTexts{ids, {}, offsets});
  }
  Json answer;
  answer["seconds"] = seconds_since(start);
  return answer;
}

Json answer_to(std::map<std::string, Loaded>& sessions, const Json& command) {
  const std::string what = command.at("do"), id = command.at("id");
  if (what == "load") return load(sessions, command);
  const auto found = sessions.find(id);
  if (found == sessions.end()) fail("[{}] is not loaded", id);
  if (what == "run") return run(found->second, command);
  if (what == "time") return time(found->second, command);
  if (what == "mixed") return mixed(found->second, command);
  if (what != "forget") fail("[{}] is not a command", what);
  sessions.erase(found);
  return Json::object();
}

}  // namespace

int main() {
  std::map<std::string, Loaded> sessions;
  std::string line;
  while (std::getline(std::cin, line)) {
    Json answer;
    try {
      answer = answer_to(sessions, parse_json(line, "command"));
    } catch (const std::exception& error) {
      answer["error"] = error.what();
    }
    std::cout << dump_json(answer, {.indent = -1}) << std::endl;
  }
  return 0;
}
