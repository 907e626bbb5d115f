// Precompiled by qdqbert_nn for every target that sees LibTorch. Headers that include what they need
// themselves stay correct without it.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/module.h>

#if AT_PARALLEL_OPENMP && !defined(_OPENMP)
#error "without OpenMP's flag at::parallel_for runs on one thread"
#endif
