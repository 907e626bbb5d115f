"""What the peer tests share: reading cases, running ONNX Runtime, reporting."""
import sys

import numpy as np
import onnxruntime
from safetensors.numpy import load_file


def session(path, optimized=False):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def calls_of(tensors):
    """call name -> {input name: array}"""
    calls = {}
    for key, value in tensors.items():
        call, _, name = key.partition(".input.")
        if name and call.startswith("call"):
            calls.setdefault(call, {})[name] = value
    return calls


class Report:
    """Collects failures; `finish` prints and exits as ctest wants it."""

    def __init__(self, what):
        self.what, self.checks, self.failures = what, 0, []

    def check(self, good, sentence):
        self.checks += 1
        if not good:
            self.failures.append(sentence)

    def finish(self):
        for failure in self.failures:
            print("FAILED:", failure)
        print(f"{self.what}: {self.checks} checks, {len(self.failures)} failed")
        if self.checks == 0:
            print(f"FAILED: {self.what} found nothing to check")
        sys.exit(1 if self.failures or self.checks == 0 else 0)


def largest_difference(a, b):
    return float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64)))) if a.size else 0.0


__all__ = ["session", "calls_of", "Report", "largest_difference", "load_file", "np"]
