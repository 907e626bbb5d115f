#include "cli/plan_report.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/engine_flags.h"
#include "cli/table.h"

namespace qdqbert::cli {

namespace {

/// Items in the order of their first occurrence.
struct Group {
  std::string key;
  size_t count = 0;
  std::string first;
};

template <class Key>
std::vector<Group> grouped(const std::vector<engine::PlanStep>& steps, const Key& key) {
  std::vector<Group> groups;
  for (const engine::PlanStep& step : steps) {
    const std::string name = key(step);
    if (name.empty()) continue;
    auto found = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.key == name; });
    if (found == groups.end()) found = groups.insert(groups.end(), {name, 0, step.name});
    ++found->count;
  }
  return groups;
}

/// For a column of the table; notes follow in full.
std::string shortened(const std::string& note) {
  constexpr size_t kMost = 60;
  if (note.size() <= kMost) return note;
  size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(note[end]) & 0xC0) == 0x80) --end;
  return note.substr(0, end) + "...";
}

/// Reasons below each other.
std::string by_line(std::string note) {
  for (size_t at = note.find("; "); at != std::string::npos; at = note.find("; ", at + 1))
    note.replace(at, 2, "\n       ");
  return note;
}

}  // namespace

Json plan_facts(const engine::Session& session) {
  Json steps = Json::array();
  for (const engine::PlanStep& step : session.plan())
    steps.push_back({{"name", step.name},
                     {"kind", step.kind},
                     {"kernel", step.kernel},
                     {"note", step.note},
                     {"operations_per_token", step.operations_per_token},
                     {"operations_per_pair", step.operations_per_pair},
                     {"operations_per_text", step.operations_per_text}});
  return {{"isa", name_of(session.isa())},     {"left_out", session.left_out()},
          {"threads", session.threads()},      {"packed", session.packed()},
          {"outputs", session.output_names()}, {"steps", std::move(steps)}};
}

std::string describe_plan(const engine::Session& session) {
  const std::vector<engine::PlanStep>& steps = session.plan();
  std::vector<std::vector<std::string>> rows = {{"step", "kind", "kernel", "node", "note"}};
  for (size_t i = 0; i < steps.size(); ++i)
    rows.push_back(
        {fmt::format("{}", i), steps[i].kind, steps[i].kernel, steps[i].name, shortened(steps[i].note)});
  std::string text = table(rows, "rllll");
  text += fmt::format("\n{} step{} on {}; {}; outputs {}\n", steps.size(), steps.size() == 1 ? "" : "s",
                      machine_text(session),
                      session.packed() ? "padding is removed" : "batches keep their padding",
                      fmt::join(session.output_names(), ", "));
  if (!session.left_out().empty()) text += fmt::format("left out on this machine: {}\n", session.left_out());
  for (const Group& group :
       grouped(steps, [](const auto& s) { return fmt::format("{} by {}", s.kind, s.kernel); }))
    text += fmt::format("  {:>4} {}\n", group.count, group.key);
  const std::vector<Group> notes = grouped(steps, [](const auto& s) { return s.note; });
  if (!notes.empty()) text += "notes:\n";
  for (const Group& group : notes)
    text += fmt::format("  {:>4} {} (first: {})\n", group.count, by_line(group.key), group.first);
  return text;
}

}  // namespace qdqbert::cli
