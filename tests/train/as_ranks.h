// Ranks for tests: processes of their own, forked before LibTorch has any thread.
#pragma once

#include <cstdio>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/train/process_group.h"

#include "tests/support/free_port.h"

namespace qdqbert::train {

/// Runs `body`(rank) in `count` processes; each must return true, or end by itself with status 0.
template <class Body>
void in_processes(int count, const Body& body) {
  std::vector<pid_t> children;
  for (int rank = 0; rank < count; ++rank) {
    const pid_t child = ::fork();
    if (child == 0) {
      int status = 1;
      try {
        status = body(rank) ? 0 : 2;
      } catch (const std::exception& error) {
        std::fprintf(stderr, "rank %d: %s\n", rank, error.what());
      }
      ::_exit(status);
    }
    children.push_back(child);
  }
  for (size_t rank = 0; rank < children.size(); ++rank) {
    int status = 0;
    ASSERT_EQ(::waitpid(children[rank], &status, 0), children[rank]);
    EXPECT_EQ(status, 0) << "rank " << rank << " ended with status " << WEXITSTATUS(status) << " and signal "
                         << WTERMSIG(status);
  }
}

/// What a launcher would say on this machine; the rank is the caller's to set.
inline Launch launch_of(int size) {
  Launch launch;
  launch.size = size;
  launch.launcher = "test";
  launch.master_host = "127.0.0.1";
  launch.master_port = testing::free_port();
  return launch;
}

/// Runs `body` as every rank of a group; each must return true. Rank `lost` ends without a word instead.
template <class Body>
void as_ranks(int size, const Body& body, int lost = -1) {
  const Launch launch = launch_of(size);
  in_processes(size, [&](int rank) {
    Launch own = launch;
    own.rank = rank;
    ProcessGroup group(own, std::chrono::seconds(60));
    if (rank == lost) ::_exit(0);
    return body(group);
  });
}

}  // namespace qdqbert::train
