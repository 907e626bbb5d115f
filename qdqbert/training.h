// What needs LibTorch: models, calibration, training and export. Includes inference.h.
#pragma once

#include "qdqbert/inference.h"
#include "qdqbert/model/heads.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/model/onnx_export.h"
#include "qdqbert/nn/linear.h"
#include "qdqbert/nn/tensor_quantizer.h"
#include "qdqbert/train/calibrate.h"
#include "qdqbert/train/quant_trainer.h"
#include "qdqbert/train/trainer.h"
