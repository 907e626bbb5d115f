// Precompiled by qdqbert_nn for every target that sees LibTorch. Headers that include what they need
// themselves stay correct without it.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/module.h>
