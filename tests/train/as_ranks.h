// Ranks for tests: processes of their own, forked before LibTorch has any thread.
#pragma once

#include <cstdio>
#include <vector>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/train/process_group.h"

namespace qdqbert::train {

inline uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

/// Runs `body` as every rank of a group; each must return true. Rank `lost` ends without a word instead.
template <class Body>
void as_ranks(int size, const Body& body, int lost = -1) {
  Launch launch;
  launch.size = size;
  launch.launcher = "test";
  launch.master_host = "127.0.0.1";
  launch.master_port = free_port();
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
