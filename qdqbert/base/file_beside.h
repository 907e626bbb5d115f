// Files that another file names, which may be hostile.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "qdqbert/base/mapped_file.h"

namespace qdqbert {

/// Maps `location` below `directory`. Throws InputError, starting with `subject`, when the name is empty or
/// absolute, climbs out of the directory by ".." or a link, or is no regular file.
std::shared_ptr<const MappedFile> map_file_beside(const std::filesystem::path& directory,
                                                  const std::string& location, const std::string& subject);

}  // namespace qdqbert
