// Collective calls, averaged gradients, and what launchers say.
#include <map>

#include <gtest/gtest.h>

#include "tests/train/as_ranks.h"

namespace qdqbert::train {
namespace {

TEST(ProcessGroup, SumsMaximaAndBroadcasts) {
  as_ranks(3, [](ProcessGroup& group) {
    at::Tensor sum = at::full({5}, group.rank() + 1.0F),
               most = at::tensor({1.0F * group.rank(), -1.0F * group.rank()});
    group.sum(sum);
    group.maximum(most);
    at::Tensor shared = at::full({2}, group.rank() == 1 ? 7 : 0);
    group.broadcast(shared, 1);
    group.barrier();
    return sum.equal(at::full({5}, 6.0F)) && most.equal(at::tensor({2.0F, 0.0F})) &&
           shared.equal(at::full({2}, 7));
  });
}

TEST(ProcessGroup, GathersTextsOfAnyLength) {
  as_ranks(3, [](ProcessGroup& group) {
    const std::vector<std::string> texts =
        group.gather(std::string(static_cast<size_t>(group.rank()) * 2, 'a' + group.rank()));
    return texts == std::vector<std::string>{"", "bb", "cccc"} &&
           group.gather("") == std::vector<std::string>(3);
  });
}

TEST(ProcessGroup, RanksWithOtherFlagsAreNamed) {
  as_ranks(2, [](ProcessGroup& group) {
    group.require_equal("seed", "42");
    try {
      group.require_equal("flags", group.rank() == 1 ? "--seed 7" : "--seed 42");
    } catch (const UsageError& error) {
      return std::string(error.what()).find("rank 1 has other flags than rank 0") != std::string::npos;
    }
    return false;
  });
}

TEST(ProcessGroup, ALostRankEndsTheOthersWithASentence) {
  const auto is_told = [](ProcessGroup& group) {
    try {
      for (int i = 0; i < 100; ++i) group.sum(at::ones({1000}));
    } catch (const LostRank& error) {
      return std::string(error.what()).find("another rank is gone") != std::string::npos;
    }
    return false;
  };
  as_ranks(2, is_told, 1);
  as_ranks(2, is_told, 0);  // which keeps the list of those present
  as_ranks(3, is_told, 2);
}

// Losses of a tiny network on each rank's half of a batch;
// the averaged gradient is that of the whole batch's mean.
TEST(GradientAverage, IsTheGradientOfTheWholeBatch) {
  as_ranks(2, [](ProcessGroup& group) {
    at::manual_seed(5);
    std::vector<at::Tensor> parameters;
    // Sizes that make several buckets, one parameter being larger than a bucket, and one that is not used.
    for (const int64_t rows : {4096, 64, 1024, 8})
      parameters.push_back(at::randn({rows, 1024}).set_requires_grad(true));
    // An embedding, of which the ranks' halves touch other rows and one in common, and one that is not used.
    for (int i = 0; i < 2; ++i) parameters.push_back(at::randn({9000, 8}).set_requires_grad(true));
    const at::Tensor tokens = at::tensor({7, 8999, 7, 0}, at::kLong);
    const at::Tensor batch = at::randn({4, 1024});
    const auto loss = [&](const at::Tensor& x, const at::Tensor& ids) {
      const at::Tensor hidden = at::tanh(x.matmul(parameters[1].t()));
      return x.matmul(parameters[0].t()).pow(2).mean() + hidden.mean() +
             x.matmul(parameters[2].t()).sin().mean() + at::embedding(parameters[4], ids).pow(2).mean();
    };
    loss(batch, tokens).backward();
    std::vector<at::Tensor> expected;
    for (at::Tensor& parameter : parameters) {
      expected.push_back(parameter.grad().defined() ? parameter.grad().clone() : at::Tensor());
      parameter.mutable_grad() = at::Tensor();
    }
    GradientAverage average(group, parameters);
    for (int repeat = 0; repeat < 2; ++repeat) {
      for (at::Tensor& parameter : parameters) parameter.mutable_grad() = at::Tensor();
      const at::Tensor half = batch.narrow(0, group.rank() * 2, 2),
                       half_tokens = tokens.narrow(0, group.rank() * 2, 2);
      // Two micro-batches: only the second one's backward sends.
      (loss(half, half_tokens) * 0.25).backward();
      average.arm();
      (loss(half, half_tokens) * 0.75).backward();
      average.finish();
      for (size_t i = 0; i < parameters.size(); ++i) {
        if (!expected[i].defined()) {
          if (parameters[i].grad().defined()) return false;
        } else if (!at::allclose(parameters[i].grad(), expected[i], 1e-5, 1e-7)) {
          return false;
        }
      }
    }
    return true;
  });
}

Environment variables(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

TEST(Launch, VariablesOfTheLaunchers) {
  EXPECT_FALSE(find_launch(variables({})));
  EXPECT_FALSE(find_launch(variables({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"MASTER_ADDR", "a"}})));
  const auto torchrun = find_launch(variables({{"RANK", "3"},
                                               {"WORLD_SIZE", "4"},
                                               {"MASTER_ADDR", "host"},
                                               {"MASTER_PORT", "1234"},
                                               {"TORCHELASTIC_USE_AGENT_STORE", "True"}}));
  ASSERT_TRUE(torchrun);
  EXPECT_EQ(torchrun->rank, 3);
  EXPECT_EQ(torchrun->local_rank, 3);
  EXPECT_EQ(torchrun->size, 4);
  EXPECT_EQ(torchrun->master_host, "host");
  EXPECT_EQ(torchrun->master_port, 1234);
  EXPECT_TRUE(torchrun->launcher_keeps_store);
  const auto mpi = find_launch(variables({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}}));
  ASSERT_TRUE(mpi);
  EXPECT_EQ(mpi->master_host, "127.0.0.1");
  EXPECT_FALSE(mpi->launcher_keeps_store);
  const auto slurm = find_launch(variables({{"SLURM_PROCID", "0"},
                                            {"SLURM_STEP_NUM_TASKS", "8"},
                                            {"SLURM_JOB_ID", "31234"},
                                            {"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1"}}));
  ASSERT_TRUE(slurm);
  EXPECT_EQ(slurm->master_host, "10.0.0.1");
  EXPECT_EQ(slurm->master_port, 21234);
  EXPECT_EQ(find_launch(variables({{"OMPI_COMM_WORLD_RANK", "5"},
                                   {"OMPI_COMM_WORLD_SIZE", "8"},
                                   {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                                   {"OMPI_COMM_WORLD_LOCAL_RANK", "2"}}))
                ->local_rank,
            2);
  EXPECT_EQ(
      find_launch(variables({{"PMI_RANK", "5"}, {"PMI_SIZE", "8"}, {"MPI_LOCALNRANKS", "4"}}))->local_rank,
      1);
  // Inside of an allocation but outside of srun a process stands alone.
  EXPECT_FALSE(find_launch(variables({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}})));
}

TEST(Launch, VariablesThatMakeNoSense) {
  const auto says = [](std::map<std::string, std::string> values, const char* part) {
    try {
      find_launch(variables(std::move(values)));
      return false;
    } catch (const UsageError& error) {
      return std::string(error.what()).find(part) != std::string::npos;
    }
  };
  EXPECT_TRUE(says({{"RANK", "x"}, {"WORLD_SIZE", "2"}}, "RANK is \"x\""));
  EXPECT_TRUE(says({{"RANK", "2"}, {"WORLD_SIZE", "2"}}, "ranks go from 0"));
  EXPECT_TRUE(says({{"RANK", "0"}, {"WORLD_SIZE", "2"}}, "MASTER_ADDR is not"));
  EXPECT_TRUE(says({{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}, {"MASTER_PORT", "99999"}}, "MASTER_PORT is 99999"));
}

}  // namespace
}  // namespace qdqbert::train
