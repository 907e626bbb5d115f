// Everything that works without LibTorch: tokenizer, files, quantization arithmetic, SQuAD, the engine.
#pragma once

#include "qdqbert/engine/session.h"
#include "qdqbert/io/average.h"
#include "qdqbert/io/bert_config.h"
#include "qdqbert/io/checkpoint.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/quant/calibrate_weights.h"
#include "qdqbert/quant/descriptor.h"
#include "qdqbert/quant/fake_quant.h"
#include "qdqbert/quant/histogram_calibrator.h"
#include "qdqbert/quant/max_calibrator.h"
#include "qdqbert/text/encoding.h"
#include "qdqbert/text/tokenizer.h"
#include "qdqbert/version.h"
