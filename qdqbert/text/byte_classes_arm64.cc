#include "qdqbert/text/byte_classes.h"

namespace qdqbert::text {

ClassifyBytes classify_bytes() {
  return classify_bytes_ref;
}

}  // namespace qdqbert::text
