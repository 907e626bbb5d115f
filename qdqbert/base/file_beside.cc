#include "qdqbert/base/file_beside.h"

#include <algorithm>

#include "qdqbert/base/error.h"

namespace qdqbert {

namespace fs = std::filesystem;

std::shared_ptr<const MappedFile> map_file_beside(const fs::path& directory, const std::string& location,
                                                  const std::string& subject) {
  const fs::path relative(location);
  const bool leaves = std::find(relative.begin(), relative.end(), "..") != relative.end();
  if (location.empty() || location.find('\0') != std::string::npos || relative.is_absolute() || leaves)
    fail("{}: external data at \"{}\" is not a file beside the model", subject, location);
  std::error_code error;
  const fs::path home = fs::weakly_canonical(directory.empty() ? fs::path(".") : directory, error);
  const fs::path target = error ? fs::path() : fs::canonical(home / relative, error);
  if (error || !fs::is_regular_file(target, error))
    fail("{}: there is no external data file \"{}\"", subject, location);
  // A link may lead outside although the name does not.
  const auto [home_end, ignored] = std::mismatch(home.begin(), home.end(), target.begin(), target.end());
  if (home_end != home.end())
    fail("{}: external data at \"{}\" leads out of {}", subject, location, home.string());
  return MappedFile::open(target);
}

}  // namespace qdqbert
