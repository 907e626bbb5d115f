// A session on a machine where kernels fail: this file's definitions stand before the library's in the link,
// so the tables lead to a product that no processor knows and to a softmax that is wrong.
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/log.h"
#include "qdqbert/engine/kernels/gemm_s8.h"
#include "qdqbert/engine/kernels/rows.h"
#include "qdqbert/engine/session.h"

#include "cli/plan_report.h"
#include "tests/engine/illegal.h"
#include "tests/engine/machine_isas.h"
#include "tests/engine/texts.h"
#include "tests/support/golden.h"

namespace qdqbert::engine {

void gemm_s8_run_avx512vnni(const uint8_t*, size_t, size_t, const void*, size_t, int32_t*, size_t) {
  testing::illegal_instruction();
}

const RowKernels& rows_avx2() {
  static const RowKernels broken = [] {
    RowKernels rows = rows_ref();
    rows.softmax = [](const SoftmaxArgs& a) {
      rows_ref().softmax(a);
      a.codes[0] ^= 1;
    };
    return rows;
  }();
  return broken;
}

namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(LeftOutTest, OneLineAndTheSameBits) {
  if (!supports(Isa::kAvx2)) GTEST_SKIP() << "this machine has the reference alone";
  std::vector<std::string> lines;
  set_log_sink([&](LogLevel level, std::string_view line) {
    if (level == LogLevel::kWarning) lines.emplace_back(line);
  });
  // Recorded, and quantized throughout.
  std::optional<Session> reference;
  std::filesystem::path file;
  for (const auto& entry : std::filesystem::directory_iterator(testing::golden_dir() / "onnx")) {
    file = entry.path() / "model.onnx";
    if (!std::filesystem::exists(file)) continue;
    reference.emplace(file, SessionOptions{.isa = Isa::kRef});
    if (reference->bit_exact()) break;
  }
  ASSERT_TRUE(reference && reference->bit_exact());
  EXPECT_EQ(reference->left_out(), "");
  EXPECT_THAT(cli::describe_plan(*reference), Not(HasSubstr("left out")));
  const testing::Texts texts = testing::random_texts(*reference, {11, 1, 29, 16});
  const std::vector<Output> expected = reference->run(texts.view());

  // The best of the broken ones first, so that the others are met on the way.
  for (const Isa isa : {Isa::kAvx512Vnni, Isa::kAvxVnni, Isa::kAvx2}) {
    if (!supports(isa)) continue;
    SCOPED_TRACE(name_of(isa));
    const Session session(file, {.isa = isa});
    EXPECT_EQ(session.isa(), Isa::kRef);
    EXPECT_THAT(session.left_out(), HasSubstr("avx2 (softmax computes wrongly)"));
    if (isa == Isa::kAvx512Vnni) {
      EXPECT_THAT(session.left_out(), HasSubstr("avx512vnni (gemm_s8 meets an illegal instruction)"));
    }
    // What inspect --plan prints and writes.
    EXPECT_THAT(cli::describe_plan(session),
                HasSubstr("left out on this machine: " + session.left_out() + "\n"));
    EXPECT_EQ(cli::plan_facts(session).at("left_out"), session.left_out());
    const std::vector<Output> outputs = session.run(texts.view());
    for (size_t o = 0; o < outputs.size(); ++o)
      EXPECT_TRUE(testing::same_bits(outputs[o].values, expected[o].values)) << outputs[o].name;
  }
  set_log_sink(nullptr);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_THAT(lines[0], HasSubstr("; ref is used instead"));
}

}  // namespace
}  // namespace qdqbert::engine
