#include "qdqbert/base/cpu_features.h"
#include "qdqbert/text/byte_classes.h"

namespace qdqbert::text {

ClassifyBytes classify_bytes() {
  return preferred_isa() == Isa::kRef ? classify_bytes_ref : classify_bytes_avx2;
}

}  // namespace qdqbert::text
