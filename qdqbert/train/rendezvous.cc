#include "qdqbert/train/rendezvous.h"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <fmt/ranges.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "qdqbert/base/error.h"

namespace qdqbert::train {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// The longest time between two questions to the store, and how long its server stays when it gives up, so
// that the others read why instead of finding the store gone.
constexpr milliseconds kLongestPause{50}, kLastWords{500};
// A rank that is lost between having heard of all and saying so must not hold rank 0 up for long.
constexpr milliseconds kFarewell = std::chrono::seconds(10);

const char* const kFailed = "failed";

std::vector<uint8_t> bytes_of(const std::string& text) {
  return {text.begin(), text.end()};
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

/// Why this rank does not meet the others; a part of the sentence that meet() throws.
class Reason : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The same, said by another rank before.
class Echo : public Reason {
 public:
  using Reason::Reason;
};

class Meeting {
 public:
  Meeting(const Launch& launch, milliseconds patience) : launch_(launch), patience_(patience) {}

  void open() {
    start_ = Clock::now();
    c10d::TCPStoreOptions options = store_options();
    options.port = launch_.master_port;
    options.isServer = serves();
    // It would wait without naming who is missing, and in LibTorch 1.13 go on without them.
    options.waitWorkers = false;
    options.timeout = patience_;
    // torchrun starts a job again with the same store, in which the keys of the last attempt still lie.
    const std::string attempt = process_environment("TORCHELASTIC_RESTART_COUNT").value_or("0");
    c10::intrusive_ptr<c10d::Store> store;
    for (std::string why; !store;) {
      try {
        store = c10::make_intrusive<c10d::TCPStore>(launch_.master_host, options);
      } catch (const std::exception& error) {
        if (why.empty()) why = first_line(error.what());
        if (serves()) throw Reason(fmt::format("it cannot listen there ({})", why));
        const auto left = [&] {
          return std::chrono::duration_cast<milliseconds>(start_ + patience_ - Clock::now());
        };
        if (left() <= milliseconds(0)) {
          throw Reason(
              fmt::format("{0} does not answer there ({1}); is {0} started, and is the address reachable?",
                          server(), why));
        }
        // LibTorch 1.13 gives up where its next attempt, a second later, would be too late.
        std::this_thread::sleep_for(std::min<milliseconds>(left(), std::chrono::seconds(1)));
        options.timeout = std::max(left(), milliseconds(1));
      }
    }
    store->setTimeout(patience_);
    store_ = c10::make_intrusive<c10d::PrefixStore>("qdqbert/" + attempt, store);
  }

  /// Says that this rank has come to `stage`, and waits for the others.
  void come_to(const std::string& stage, const char* not_yet) {
    start_ = Clock::now();
    asking([&] {
      announce(stage, launch_.size);
      if (reached(stage, patience_)) return;
      throw Reason(fmt::format("{} {}", missing_from(stage), not_yet));
    });
  }

  void connect(const Connect& connect) {
    start_ = Clock::now();
    try {
      connect(c10::make_intrusive<c10d::PrefixStore>("connections", store_));
    } catch (const std::exception& error) {
      throw Reason(
          fmt::format("a connection to another rank was lost or not made ({})", first_line(error.what())));
    }
  }

  /// Everybody is connected. Who serves the store stays until the others know that too.
  void part() {
    if (launch_.launcher_keeps_store) return;
    try {
      if (serves()) {
        reached("parted", kFarewell);
      } else {
        announce("parted", launch_.size - 1);
      }
    } catch (const std::exception&) {
      // The others have what they came for: whoever is lost now is missed by the next call of the group.
    }
  }

  /// Before this rank gives up.
  void tell_others(const std::string& reason) {
    if (!store_) return;
    try {
      store_->set(kFailed, bytes_of(fmt::format("rank {} gave up: {}", launch_.rank, reason)));
    } catch (const std::exception&) {
      // The store is what was lost.
    }
  }
  void stay_for_readers() const {
    if (store_ && serves()) std::this_thread::sleep_for(kLastWords);
  }

  /// How long this rank has waited for what it waits for now.
  std::string waited() const {
    const auto time = std::chrono::duration_cast<milliseconds>(Clock::now() - start_);
    return time < std::chrono::seconds(1) ? fmt::format("{} ms", time.count())
                                          : fmt::format("{:.1f} s", static_cast<double>(time.count()) / 1000);
  }

 private:
  bool serves() const { return launch_.rank == 0 && !launch_.launcher_keeps_store; }
  std::string server() const { return launch_.launcher_keeps_store ? launch_.launcher : "rank 0"; }

  template <class Call>
  void asking(const Call& call) {
    try {
      call();
    } catch (const Reason&) {
      throw;
    } catch (const std::exception& error) {
      throw Reason(fmt::format("{}, which keeps the list of those present, is gone ({})", server(),
                               first_line(error.what())));
    }
  }

  void announce(const std::string& stage, int of) {
    store_->set(fmt::format("{}/{}", stage, launch_.rank), bytes_of("1"));
    if (store_->add(stage, 1) == of) store_->set(stage + "/all", bytes_of("1"));
  }

  // Asks again and again: a wait of the store that runs out of time leaves its answer to the next question.
  bool reached(const std::string& stage, milliseconds patience) {
    const auto deadline = Clock::now() + patience;
    for (milliseconds pause{1};; pause = std::min(2 * pause, kLongestPause)) {
      if (store_->check({stage + "/all"})) return true;
      if (store_->check({kFailed})) {
        const std::vector<uint8_t> reason = store_->get(kFailed);
        throw Echo(std::string(reason.begin(), reason.end()));
      }
      if (Clock::now() >= deadline) return false;
      std::this_thread::sleep_for(pause);
    }
  }

  std::string missing_from(const std::string& stage) {
    std::vector<int> ranks;
    for (int rank = 0; rank < launch_.size; ++rank)
      if (!store_->check({fmt::format("{}/{}", stage, rank)})) ranks.push_back(rank);
    return fmt::format("{} {} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "),
                       ranks.size() == 1 ? "has" : "have");
  }

  const Launch& launch_;
  milliseconds patience_;
  Clock::time_point start_;
  c10::intrusive_ptr<c10d::Store> store_;
};

/// A template, so that a member which the LibTorch at hand lacks is no error.
template <class Options>
void serve_by_threads(Options& options) {
  if constexpr (requires { options.useLibUV; }) options.useLibUV = false;
}

}  // namespace

c10d::TCPStoreOptions store_options() {
  c10d::TCPStoreOptions options;
  serve_by_threads(options);
  return options;
}

void meet(const Launch& launch, milliseconds patience, const Connect& connect) {
  Meeting meeting(launch, patience);
  try {
    meeting.open();
    meeting.come_to("here", "not come; are all ranks started, and is the address reachable?");
    meeting.connect(connect);
    meeting.come_to("connected", "not connected");
    meeting.part();
  } catch (const Reason& reason) {
    const std::string what = fmt::format("after {} {}", meeting.waited(), reason.what());
    if (dynamic_cast<const Echo*>(&reason) == nullptr) meeting.tell_others(what);
    meeting.stay_for_readers();
    fail<SystemError>("[processes] rank {} of {} ({}) could not meet the others at {}:{}: {}", launch.rank,
                      launch.size, launch.launcher, launch.master_host, launch.master_port, what);
  }
}

}  // namespace qdqbert::train
