// Names that training tools put around a model's own.
#pragma once

#include <string>
#include <string_view>

namespace qdqbert::io {

/// The name of a tensor without what wrappers add: in front "module." (DataParallel and its relatives), "model."
/// (Lightning), "auto_model.", "0.auto_model." (sentence-transformers), anywhere "_orig_mod." (torch.compile),
/// "_forward_module.", "_fsdp_wrapped_module." and "_checkpoint_wrapped_module.", as often as they occur.
std::string unwrapped_name(std::string_view name);

/// Whether a tensor, under the model's name with or without "bert.", belongs to embeddings or layers: what no
/// task begins anew. Cross-attention does not, which decoders made of encoders begin with random weights.
bool is_encoder_tensor(std::string_view name);

}  // namespace qdqbert::io
