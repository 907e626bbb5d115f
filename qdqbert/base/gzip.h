#pragma once

#include <string>
#include <string_view>

namespace qdqbert {

/// Decompresses gzip data (several members allowed). Throws InputError naming `name` when the data is
/// truncated or corrupt, or inflates past `limit` bytes.
std::string gunzip(std::string_view compressed, std::string_view name, size_t limit = size_t{1} << 32);

/// Compresses to one gzip member without a time stamp, so equal content gives equal bytes.
std::string gzip(std::string_view content);

}  // namespace qdqbert
