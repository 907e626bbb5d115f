// How the processes of one job find each other before any of them talks to another.
#pragma once

#include <chrono>
#include <functional>

#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "qdqbert/train/launch.h"

namespace qdqbert::train {

/// Defaults, but the store is served by threads: LibTorch 2.4 and newer want libuv
/// otherwise, and some are built without it.
c10d::TCPStoreOptions store_options();

/// Makes this rank's connections to the others with the help of a store that all ranks reach.
using Connect = std::function<void(const c10::intrusive_ptr<c10d::Store>& store)>;

/// Collective, once a job (once an attempt, where torchrun starts jobs again). Waits until all ranks are
/// there, calls `connect` on every rank, and returns when it has returned on all of them: a rank may end
/// right afterwards, for nobody is still connecting to it or asking the store that it serves. The store lives
/// as long as somebody holds it. Throws SystemError naming the address, how long this rank waited and what
/// for: the ranks that did not come or did not connect within `patience` each, the rank that gave up and why,
/// or the connection that was lost.
void meet(const Launch& launch, std::chrono::milliseconds patience, const Connect& connect);

}  // namespace qdqbert::train
