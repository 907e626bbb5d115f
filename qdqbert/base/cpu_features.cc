#include "qdqbert/base/cpu_features.h"

#include <cstdint>
#include <cstdlib>

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "qdqbert/base/error.h"

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

constexpr Isa kAll[] = {Isa::kRef, Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512Vnni, Isa::kAmxInt8};

}  // namespace

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::kRef:
      return "ref";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvxVnni:
      return "avxvnni";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
    case Isa::kAmxInt8:
      return "amxint8";
  }
  return "?";
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

bool supports(Isa isa) {
  const CpuFeatures& features = cpu_features();
  switch (isa) {
    case Isa::kRef:
      return true;
    case Isa::kAvx2:
      return features.avx2;
    case Isa::kAvxVnni:
      return features.avx_vnni;
    case Isa::kAvx512Vnni:
      return features.avx512_vnni;
    case Isa::kAmxInt8:
      return features.amx_int8;
  }
  return false;
}

std::optional<Isa> isa_named(std::string_view name) {
  for (Isa isa : kAll)
    if (name_of(isa) == name) return isa;
  return std::nullopt;
}

Isa preferred_isa() {
  if (const char* forced = std::getenv("QDQBERT_ISA"); forced && *forced) {
    const std::optional<Isa> isa = isa_named(forced);
    if (!isa)
      fail<UsageError>("[cpu] QDQBERT_ISA={} is unknown; use ref, avx2, avxvnni, avx512vnni or amxint8",
                       forced);
    if (!supports(*isa)) fail<UsageError>("[cpu] QDQBERT_ISA={} is not supported by this machine", forced);
    return *isa;
  }
  Isa best = Isa::kRef;
  for (Isa isa : kAll)
    if (supports(isa)) best = isa;
  return best;
}

}  // namespace qdqbert
