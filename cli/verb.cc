#include "cli/verb.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/version.h"

#include "cli/terminal.h"

namespace qdqbert::cli {

namespace {

/// What a shell reports of a program that SIGPIPE ended.
constexpr int kReaderGone = 128 + SIGPIPE;

void print_help(std::span<const Verb> verbs) {
  fmt::print(
      "qdqbert {}: from a BERT checkpoint to a fast, trustworthy INT8 model.\n\n"
      "usage: qdqbert VERB [flags]\n\n",
      kVersion);
  for (const Verb& verb : verbs) fmt::print("  {:<13} {}\n", verb.name, verb.summary);
  fmt::print(
      "\n"
      "`qdqbert VERB --help` explains the flags of a verb. Exit codes: 0 done, 2 bad usage or input, 1 anything else.\n");
}

/// The training executable: beside this one (build tree), or in libexec of the same prefix (installed).
std::filesystem::path training_executable() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path beside = self.parent_path() / "qdqbert-train";
  if (std::filesystem::exists(beside, error)) return beside;
  const std::filesystem::path installed = self.parent_path().parent_path() / "libexec/qdqbert/qdqbert-train";
  if (std::filesystem::exists(installed, error)) return installed;
  return {};
}

int start_training_verb(char** argv) {
  const std::filesystem::path executable = training_executable();
  if (executable.empty())
    fail<UsageError>(
        "[{}] this build has no training verbs: it was made without LibTorch (preset engine-only)", argv[1]);
  // OpenMP threads that wait by spinning make a program many times slower as soon as anything
  // else runs on the machine (measured: 7 times with two threads on two busy cores);
  // sleeping costs nothing on a quiet one.
  ::setenv("OMP_WAIT_POLICY", "passive", 0);
  ::execv(executable.c_str(), argv);
  fail<SystemError>("[{}] cannot start {}: {}", argv[1], executable.string(), std::strerror(errno));
}

int dispatch(std::span<const Verb> verbs, int argc, char** argv) {
  if (argc < 2) {
    print_help(verbs);
    return 2;
  }
  const std::string_view name = argv[1];
  if (name == "--help" || name == "-h" || name == "help") {
    print_help(verbs);
    return 0;
  }
  if (name == "--version") {
    fmt::print("qdqbert {}\n", kVersion);
    return 0;
  }
  for (const Verb& verb : verbs)
    if (verb.name == name) {
      if (!verb.run) return start_training_verb(argv);
      return verb.run(Arguments(argv + 2, argv + argc));
    }
  std::string known;
  for (const Verb& verb : verbs) known += fmt::format("{}{}", known.empty() ? "" : ", ", verb.name);
  fail<UsageError>("unknown verb \"{}\"; there are {}", name, known);
}

}  // namespace

int run_main(std::span<const Verb> verbs, int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a full quota shows as a failed write, which has a sentence
  const TerminalLog log;
  const auto complain = [&](const char* text) {
    log.finish_line();
    std::fflush(stdout);
    print_error(fmt::format("qdqbert: {}\n", text));
  };
  try {
    const int code = dispatch(verbs, argc, argv);
    flush_output();
    return code;
  } catch (const ReaderGone&) {
    return kReaderGone;
  } catch (const Interrupted&) {
    complain("interrupted; nothing half-written was left behind");
    return 1;
  } catch (const InputError& error) {
    complain(error.what());
    return 2;
  } catch (const UsageError& error) {
    complain(error.what());
    return 2;
  } catch (const SystemError& error) {  // a missing file, a full disk: what was handed in, not a defect
    complain(error.what());
    return 2;
  } catch (const std::system_error& error) {  // fmt::print throws it
    if (error.code() == std::errc::broken_pipe) return kReaderGone;
    complain(error.what());
    return 1;
  } catch (const std::bad_alloc&) {
    complain("out of memory");
    return 1;
  } catch (const std::exception& error) {
    complain(error.what());
    return 1;
  }
}

}  // namespace qdqbert::cli
