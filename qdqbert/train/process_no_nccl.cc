#include "qdqbert/base/error.h"
#include "qdqbert/train/process_backend.h"

namespace qdqbert::train {

c10::intrusive_ptr<Backend> connect_gpus(const c10::intrusive_ptr<c10d::Store>&, const Launch&,
                                         at::Device device, std::chrono::milliseconds) {
  fail<UsageError>("[processes] {} cannot be shared: this build has no NCCL", device.str());
}

}  // namespace qdqbert::train
