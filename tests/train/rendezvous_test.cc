// Who comes, who connects, and what is said when somebody does not.
#include "qdqbert/train/rendezvous.h"

#include <cstdlib>
#include <regex>
#include <thread>

#include <gtest/gtest.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "tests/train/as_ranks.h"

namespace qdqbert::train {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Of tests in which somebody is missing. LibTorch 1.13 asks a store that is not there yet again only after a
/// second, so a shorter one ends before those who are late have come.
constexpr seconds kPatience{4};

void connect_nothing(const c10::intrusive_ptr<c10d::Store>&) {}

/// Whether meeting ends with a sentence in which `pattern` is found; the place is in all of them.
bool says(const Launch& launch, milliseconds patience, const Connect& connect, const std::string& pattern) {
  try {
    meet(launch, patience, connect);
  } catch (const SystemError& error) {
    const std::string text = error.what();
    const bool found = text.find("could not meet the others at 127.0.0.1:") != std::string::npos &&
                       std::regex_search(text, std::regex(pattern));
    if (!found) std::fprintf(stderr, "rank %d: %s\n", launch.rank, text.c_str());
    return found;
  }
  std::fprintf(stderr, "rank %d met the others\n", launch.rank);
  return false;
}

Launch as_rank(Launch launch, int rank) {
  launch.rank = rank;
  return launch;
}

// Each rank makes its connections at its own pace; nobody may go on, and end, before the slowest has them.
TEST(Rendezvous, EndsWhenTheSlowestIsConnected) {
  for (const int slowest : {0, 2}) {
    const Launch launch = launch_of(3);
    const auto start = std::chrono::steady_clock::now();
    in_processes(3, [&](int rank) {
      meet(as_rank(launch, rank), seconds(60), [&](const auto&) {
        if (rank == slowest) std::this_thread::sleep_for(milliseconds(300));
      });
      return std::chrono::steady_clock::now() - start >= milliseconds(300);
    });
  }
}

// All end the moment that they have met: rank 0 must not take the store away from those still asking it.
TEST(Rendezvous, RanksMayEndRightAway) {
  for (int repeat = 0; repeat < 10; ++repeat) {
    const Launch launch = launch_of(4);
    in_processes(4, [&](int rank) {
      meet(as_rank(launch, rank), seconds(60), connect_nothing);
      return true;
    });
  }
}

TEST(Rendezvous, NobodyThereIsSaidInTime) {
  const Launch launch = launch_of(2);
  in_processes(1, [&](int) {
    return says(as_rank(launch, 1), seconds(2), connect_nothing,
                "after [2-9][.][0-9] s rank 0 does not answer there .*; is rank 0 started");
  });
}

TEST(Rendezvous, TheMissingRankIsNamed) {
  const Launch launch = launch_of(4);
  in_processes(2, [&](int rank) {
    return says(as_rank(launch, rank), kPatience, connect_nothing,
                "after [1-9][.][0-9] s ranks 2, 3 have not come; are all ranks started");
  });
}

TEST(Rendezvous, TheRankThatDoesNotConnectIsNamed) {
  const Launch launch = launch_of(3);
  in_processes(3, [&](int rank) {
    const auto connect = [&](const auto&) {
      if (rank == 1) ::_exit(0);
    };
    return says(as_rank(launch, rank), kPatience, connect, "after [1-9][.][0-9] s rank 1 has not connected");
  });
}

// Not after the patience, and not as if it had run out.
TEST(Rendezvous, AFailedConnectionIsToldToAll) {
  const Launch launch = launch_of(3);
  const auto start = std::chrono::steady_clock::now();
  in_processes(3, [&](int rank) {
    return says(
        as_rank(launch, rank), seconds(60),
        [&](const auto&) {
          if (rank == 1) throw std::runtime_error("no route\nand a stack");
        },
        rank == 1 ? "after [0-9.]+ m?s a connection to another rank was lost or not made [(]no route[)]$"
                  : "rank 1 gave up: after [0-9.]+ m?s a connection to another rank was lost");
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(30));
}

TEST(Rendezvous, ALostRankZeroIsNoticedAtOnce) {
  const Launch launch = launch_of(2);
  in_processes(2, [&](int rank) {
    const auto connect = [&](const auto&) {
      if (rank == 0) ::_exit(0);
    };
    return says(as_rank(launch, rank), seconds(60), connect,
                "after [0-9.]+ m?s rank 0, which keeps the list of those present, is gone");
  });
}

TEST(Rendezvous, APlaceThatIsTakenIsSaid) {
  const Launch launch = launch_of(2);
  in_processes(1, [&](int) {
    c10d::TCPStoreOptions options = store_options();
    options.port = launch.master_port;
    options.isServer = true;
    options.waitWorkers = false;
    const c10d::TCPStore other("127.0.0.1", options);
    return says(launch, seconds(60), connect_nothing, "after [0-9.]+ m?s it cannot listen there [(]");
  });
}

// torchrun keeps one store over all attempts of a job; what the last one left there counts for nothing.
TEST(Rendezvous, AnotherAttemptStartsFromNothing) {
  Launch launch = launch_of(2);
  launch.launcher_keeps_store = true;
  in_processes(1, [&](int) {
    c10d::TCPStoreOptions options = store_options();
    options.port = launch.master_port;
    options.isServer = true;
    options.waitWorkers = false;
    const c10d::TCPStore kept("127.0.0.1", options);
    const auto attempt = [&](const char* number, int ranks, const std::function<bool(const Launch&)>& body) {
      in_processes(ranks, [&](int rank) {
        ::setenv("TORCHELASTIC_RESTART_COUNT", number, 1);
        return body(as_rank(launch, rank));
      });
    };
    const auto meets = [](const Launch& own) {
      meet(own, seconds(60), connect_nothing);
      return true;
    };
    attempt("0", 2, meets);
    attempt("1", 1,
            [](const Launch& own) { return says(own, kPatience, connect_nothing, "rank 1 has not come"); });
    attempt("2", 2, meets);
    return !::testing::Test::HasFailure();
  });
}

}  // namespace
}  // namespace qdqbert::train
