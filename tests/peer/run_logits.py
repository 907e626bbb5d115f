"""Logits of an exported model in ONNX Runtime, optimizations off.

usage: run_logits.py DIRECTORY   (model.onnx and inputs.safetensors, by whole_model_test; writes logits.safetensors)
"""
import pathlib
import sys

import onnxruntime
from common import load_file, np
from safetensors.numpy import save_file

root = pathlib.Path(sys.argv[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
run = onnxruntime.InferenceSession(str(root / "model.onnx"), options, providers=["CPUExecutionProvider"])
names = [output.name for output in run.get_outputs()]
batches = {}
for key, value in load_file(root / "inputs.safetensors").items():
    batch, name = key.split(".")
    batches.setdefault(batch, {})[name] = value
results = {}
for batch, inputs in sorted(batches.items()):
    for name, value in zip(names, run.run(None, inputs)):
        results[f"{batch}.{name}"] = np.ascontiguousarray(value)
save_file(results, root / "logits.safetensors")
print(f"{len(batches)} batches")
