#include "qdqbert/base/cpu_features.h"

#include <cstdlib>

#include "qdqbert/base/error.h"

namespace qdqbert {

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
  for (Isa isa : kIsas)
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
  for (Isa isa : kIsas)
    if (supports(isa)) best = isa;
  return best;
}

}  // namespace qdqbert
