// What a session says about how it runs a model.
#pragma once

#include <string>

#include "qdqbert/base/json.h"
#include "qdqbert/engine/session.h"

namespace qdqbert::cli {

/// {isa, left_out, threads, packed, outputs, steps: [{name, kind, kernel, note, operations_per_token, ...}]}
Json plan_facts(const engine::Session& session);

/// The steps as a table, how many there are of each kind on each kernel,
/// and each note with the steps that it belongs to.
std::string describe_plan(const engine::Session& session);

}  // namespace qdqbert::cli
