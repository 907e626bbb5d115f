// Directories `checkpoint-<step>` in an output directory: appear whole or not at all, are found again, are
// removed when there are too many.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace qdqbert::train {

/// What every complete checkpoint holds besides the model; resume.json is written last.
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kStateFile = "trainer_state.json";
inline constexpr const char* kResumeFile = "resume.json";
inline constexpr const char* kArgumentsFile = "training_args.json";

/// Lets `fill` write into a hidden directory beside, flushes it to the disk and renames it to
/// `checkpoint-<step>`; one that was there before is replaced. If anything throws, what was there before is
/// intact and the hidden directory is gone. Returns the directory.
std::filesystem::path write_checkpoint(const std::filesystem::path& output, int64_t step,
                                       const std::function<void(const std::filesystem::path&)>& fill);

/// Why nothing can be resumed from `directory`, as a sentence; "" when it is complete.
std::string checkpoint_fault(const std::filesystem::path& directory);

/// The complete checkpoint with the largest number, nullopt when there is none. Each incomplete one with a
/// larger number is ignored with a warning that says why.
std::optional<std::filesystem::path> last_checkpoint(const std::filesystem::path& output);

/// Step of a directory called `checkpoint-<digits>`, nullopt for any other name.
std::optional<int64_t> checkpoint_step(const std::filesystem::path& directory);

/// Removes the oldest checkpoints until `limit` are left; `best` and the newest one always stay.
void rotate_checkpoints(const std::filesystem::path& output, int64_t limit,
                        const std::optional<std::filesystem::path>& best);

/// Removes what interrupted writing or removing has left behind; returns whether there was anything.
bool remove_leftovers(const std::filesystem::path& output);
/// Removes all checkpoints and returns their number.
int64_t remove_checkpoints(const std::filesystem::path& output);

}  // namespace qdqbert::train
