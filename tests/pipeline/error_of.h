// The message of a refusal; requests are refused in words that a caller puts behind a place of its own.
#pragma once

#include <string>

#include "qdqbert/base/error.h"

namespace qdqbert::pipeline {

template <class Work>
std::string error_of(Work&& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no InputError";
}

}  // namespace qdqbert::pipeline
