#include "qdqbert/engine/kernels/self_check.h"

#include <csignal>
#include <thread>

#include <gtest/gtest.h>

#include "qdqbert/engine/kernels/illegal_instruction.h"
#include "qdqbert/engine/kernels/select.h"

#include "tests/engine/illegal.h"
#include "tests/engine/machine_isas.h"

namespace qdqbert::engine {
namespace {

using testing::illegal_instruction;

TEST(SelfCheckTest, KernelsOfThisMachineHaveNoFault) {
  for (const Isa isa : machine_isas()) {
    EXPECT_EQ(fault_of(gemm_s8_for(isa)), "") << name_of(isa);
    EXPECT_EQ(fault_of(rows_for(isa)), "") << name_of(isa);
    const CheckedIsa checked = checked_isa(isa);
    EXPECT_EQ(checked.isa, isa);
    EXPECT_EQ(checked.left_out, "");
  }
}

/// Breaks one function of a table; first for the last bit, then by an illegal instruction.
struct Broken {
  const char* name;
  void (*wrong)(RowKernels&);
  void (*illegal)(RowKernels&);
};

const Broken kBroken[] = {
    {"requantize",
     [](RowKernels& rows) {
       rows.requantize = [](const RequantizeArgs& a) {
         rows_ref().requantize(a);
         if (a.inverse) a.codes[(a.rows - 1) * a.ldcodes + a.n - 1] ^= 1;
       };
     },
     [](RowKernels& rows) { rows.requantize = [](const RequantizeArgs&) { illegal_instruction(); }; }},
    {"residual_layernorm",
     [](RowKernels& rows) {
       rows.residual_layernorm = [](const ResidualLayerNormArgs& a) {
         rows_ref().residual_layernorm(a);
         if (!a.acc) a.out[(a.rows - 1) * a.ldout + a.n_used - 1] *= 1.0000001f;
       };
     },
     [](RowKernels& rows) {
       rows.residual_layernorm = [](const ResidualLayerNormArgs&) { illegal_instruction(); };
     }},
    {"softmax",
     [](RowKernels& rows) {
       rows.softmax = [](const SoftmaxArgs& a) {
         rows_ref().softmax(a);
         a.codes[(a.rows - 1) * a.ldcodes + a.padded - 1] ^= 1;
       };
     },
     [](RowKernels& rows) { rows.softmax = [](const SoftmaxArgs&) { illegal_instruction(); }; }},
    {"quantize",
     [](RowKernels& rows) {
       rows.quantize = [](const float* x, size_t n, float inverse, uint8_t flip, uint8_t* codes) {
         rows_ref().quantize(x, n / 16 * 16, inverse, flip, codes);
       };
     },
     [](RowKernels& rows) {
       rows.quantize = [](const float*, size_t, float, uint8_t, uint8_t*) { illegal_instruction(); };
     }},
    {"dequantize",
     [](RowKernels& rows) {
       rows.dequantize = [](const uint8_t* codes, size_t n, float scale, uint8_t, float* y) {
         rows_ref().dequantize(codes, n, scale, 0, y);
       };
     },
     [](RowKernels& rows) {
       rows.dequantize = [](const uint8_t*, size_t, float, uint8_t, float*) { illegal_instruction(); };
     }},
    {"add",
     [](RowKernels& rows) {
       rows.add = [](const float* a, const float*, size_t n, float* y) { rows_ref().add(a, a, n, y); };
     },
     [](RowKernels& rows) {
       rows.add = [](const float*, const float*, size_t, float*) { illegal_instruction(); };
     }},
    {"linear_f32",
     [](RowKernels& rows) {
       rows.linear_f32 = [](const LinearF32Args& a) {
         LinearF32Args without = a;
         if (a.narrow) without.bias = nullptr;
         rows_ref().linear_f32(without);
       };
     },
     [](RowKernels& rows) { rows.linear_f32 = [](const LinearF32Args&) { illegal_instruction(); }; }},
    {"activate",
     [](RowKernels& rows) {
       rows.activate = [](Activation activation, const float* x, size_t n, float* y) {
         rows_ref().activate(activation == Activation::kMish ? Activation::kSilu : activation, x, n, y);
       };
     },
     [](RowKernels& rows) {
       rows.activate = [](Activation, const float*, size_t, float*) { illegal_instruction(); };
     }},
    {"exp",
     [](RowKernels& rows) {
       rows.exp_nonpositive = [](const float* x, size_t n, float* y) {
         rows_ref().exp_nonpositive(x, n, y);
         y[n - 1] *= 1.0000001f;
       };
     },
     [](RowKernels& rows) {
       rows.exp_nonpositive = [](const float*, size_t, float*) { illegal_instruction(); };
     }},
};

TEST(SelfCheckTest, NamesTheRowKernelThatFails) {
  for (const Broken& broken : kBroken) {
    RowKernels rows = rows_ref();
    broken.wrong(rows);
    EXPECT_EQ(fault_of(rows), std::string(broken.name) + " computes wrongly");
    rows = rows_ref();
    broken.illegal(rows);
    EXPECT_EQ(fault_of(rows), std::string(broken.name) + " meets an illegal instruction");
  }
}

GemmS8Kernel reference() {
  return *find_gemm_s8("ref");
}

/// The reference, but for one sum of the last row in the panel of the remainder.
void wrong_at_the_end(const uint8_t* a, size_t lda, size_t rows, const void* panel, size_t k, int32_t* acc,
                      size_t ldacc) {
  gemm_s8_run_ref(a, lda, rows, panel, k, acc, ldacc);
  acc[(rows - 1) * ldacc + 7] += 1;
}

TEST(SelfCheckTest, ProductsFailByResultByInstructionAndByPacking) {
  GemmS8Kernel kernel = reference();
  kernel.run = wrong_at_the_end;
  EXPECT_EQ(fault_of(kernel), "gemm_s8 multiplies wrongly");

  kernel = reference();
  kernel.run = [](const uint8_t*, size_t, size_t, const void*, size_t, int32_t*, size_t) {
    illegal_instruction();
  };
  EXPECT_EQ(fault_of(kernel), "gemm_s8 meets an illegal instruction");

  kernel = reference();
  kernel.enter = illegal_instruction;
  kernel.leave = illegal_instruction;
  EXPECT_EQ(fault_of(kernel), "gemm_s8 meets an illegal instruction");

  kernel = reference();
  kernel.pack_columns = [](const int8_t*, size_t, size_t, size_t, int8_t*, int32_t*) {
    illegal_instruction();
  };
  EXPECT_EQ(fault_of(kernel), "gemm_s8 meets an illegal instruction");

  kernel = reference();
  kernel.pack_columns = [](const int8_t*, size_t, size_t, size_t, int8_t*, int32_t*) {};
  EXPECT_EQ(fault_of(kernel), "pack_s8 packs wrongly");
}

TEST(SelfCheckTest, ABlockedSignalIsSurvivedAndStaysBlocked) {
  sigset_t illegal, before, after;
  sigemptyset(&illegal);
  sigaddset(&illegal, SIGILL);
  pthread_sigmask(SIG_BLOCK, &illegal, &before);
  EXPECT_FALSE(survives([] { illegal_instruction(); }));
  pthread_sigmask(SIG_SETMASK, &before, &after);
  EXPECT_EQ(sigismember(&after, SIGILL), 1);
}

volatile sig_atomic_t seen = 0;

void step_over(int, siginfo_t*, void* context) {
  seen = seen + 1;
  testing::skip_illegal_instruction(context);
}

TEST(SelfCheckTest, OtherThreadsKeepTheirHandler) {
  struct sigaction ours = {}, before, after;
  ours.sa_sigaction = step_over;
  ours.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &ours, &before);
  seen = 0;
  EXPECT_TRUE(survives([] { std::thread(illegal_instruction).join(); }));
  EXPECT_EQ(seen, 1);
  EXPECT_FALSE(survives([] { illegal_instruction(); }));
  EXPECT_EQ(seen, 1);
  illegal_instruction();
  EXPECT_EQ(seen, 2) << "the handler is not given back";
  sigaction(SIGILL, &before, &after);
  EXPECT_EQ(after.sa_sigaction, &step_over);
}

TEST(SelfCheckDeathTest, WithoutAHandlerOtherThreadsEndTheProcess) {
  EXPECT_EXIT(survives([] { std::thread(illegal_instruction).join(); }), ::testing::KilledBySignal(SIGILL),
              "");
  // A signal that somebody sent is no instruction of this thread.
  EXPECT_EXIT(survives([] { raise(SIGILL); }), ::testing::KilledBySignal(SIGILL), "");
}

}  // namespace
}  // namespace qdqbert::engine
