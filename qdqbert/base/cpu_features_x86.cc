#include <cstdint>

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "qdqbert/base/cpu_features.h"

namespace qdqbert {

namespace {

uint64_t enabled_states() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

bool request_amx_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

CpuFeatures detect() {
  CpuFeatures features;
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return features;
  const bool xsave = ecx & (1u << 27);
  if (!xsave) return features;
  const bool fma = ecx & (1u << 12);
  const bool f16c = ecx & (1u << 29);
  const uint64_t states = enabled_states();
  const bool ymm = (states & 0x6) == 0x6;
  const bool zmm = (states & 0xe6) == 0xe6;
  const bool tiles = (states & 0x60000) == 0x60000;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return features;
  features.avx2 = ymm && fma && f16c && (ebx & (1u << 5));
  const uint32_t f_dq_bw_vl = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);
  features.avx512 = zmm && features.avx2 && (ebx & f_dq_bw_vl) == f_dq_bw_vl;
  features.avx512_vnni = features.avx512 && (ecx & (1u << 11));
  const bool amx = tiles && (edx & (1u << 24)) && (edx & (1u << 25));
  features.amx_int8 = features.avx512_vnni && amx && request_amx_tiles();
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) {
    features.avx_vnni = features.avx2 && (eax & (1u << 4));
    features.avx512_bf16 = features.avx512 && (eax & (1u << 5));
  }
  return features;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

void pause_spinning() {
  __builtin_ia32_pause();
}

}  // namespace qdqbert
