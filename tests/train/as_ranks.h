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

/// Runs `body` as every rank of a group; each must return true. Rank `lost` ends without a word instead.
template <class Body>
void as_ranks(int size, const Body& body, int lost = -1) {
  Launch launch;
  launch.size = size;
  launch.launcher = "test";
  launch.master_host = "127.0.0.1";
  launch.master_port = testing::free_port();
  std::vector<pid_t> children;
  for (int rank = 0; rank < size; ++rank) {
    const pid_t child = ::fork();
    if (child == 0) {
      launch.rank = rank;
      int status = 1;
      try {
        ProcessGroup group(launch, std::chrono::seconds(60));
        if (rank == lost) ::_exit(0);
        status = body(group) ? 0 : 2;
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
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "rank " << rank;
  }
}

}  // namespace qdqbert::train
