// What this processor and operating system can run. One file a processor:
// cpu_features_x86.cc, cpu_features_arm64.cc.
#pragma once

#include <optional>
#include <string_view>

namespace qdqbert {

/// Instruction sets that kernels are written for, in ascending order of preference.
enum class Isa { kRef, kAvx2, kAvxVnni, kAvx512Vnni, kAmxInt8 };
inline constexpr Isa kIsas[] = {Isa::kRef, Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512Vnni, Isa::kAmxInt8};

std::string_view name_of(Isa isa);  ///< "ref", "avx2", "avxvnni", "avx512vnni", "amxint8"
std::optional<Isa> isa_named(std::string_view name);

struct CpuFeatures {
  bool avx2 = false;      ///< AVX2 with FMA and F16C
  bool avx_vnni = false;  ///< 256-bit VNNI in VEX encoding
  bool avx512 = false;    ///< F, BW, DQ, VL
  bool avx512_vnni = false;
  bool amx_int8 = false;  ///< and the kernel granted the tile state
  bool avx512_bf16 = false;
};

/// Detected once; asks the operating system for AMX tile permission.
/// On arm64 all false: its kernels are the scalar reference.
const CpuFeatures& cpu_features();

bool supports(Isa isa);

/// Tells the processor that this thread is waiting in a loop.
void pause_spinning();

/// The best supported ISA, or the one named by QDQBERT_ISA. Throws UsageError when that
/// name is unknown or not supported here.
Isa preferred_isa();

}  // namespace qdqbert
