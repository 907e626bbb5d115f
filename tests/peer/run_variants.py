"""Runs every variant of the export in ONNX Runtime, optimizations off, against our LibTorch model or, where a
variant must not change anything, bit for bit against the file that it is a variant of.

usage: run_variants.py DIRECTORY   (written by onnx_variants_test)
"""
import json
import pathlib
import sys

import onnx
from common import Report, calls_of, largest_difference, load_file, np, session

report = Report("export variants in ONNX Runtime")
root = pathlib.Path(sys.argv[1])


def results_of(case):
    run = session(case / "model.onnx")
    names = [output.name for output in run.get_outputs()]
    tensors = load_file(case / "io.safetensors")
    return {
        f"{call}.output.{name}": value
        for call, inputs in calls_of(tensors).items()
        for name, value in zip(names, run.run(None, inputs))
    }


for case in sorted(root.iterdir()):
    variant = json.loads((case / "variant.json").read_text())
    onnx.checker.check_model(str(case / "model.onnx"), full_check=True)
    results = results_of(case)
    expected = results_of(root / variant["same_as"]) if variant["same_as"] else load_file(case / "io.safetensors")
    expected = {name: value for name, value in expected.items() if ".output." in name}
    report.check(sorted(results) == sorted(expected), f"{case.name}: outputs {sorted(results)}, not {sorted(expected)}")
    worst = 0.0
    for name, result in results.items():
        report.check(result.dtype == np.float32, f"{case.name} {name}: type {result.dtype}")
        wanted = expected[name]
        if result.shape != wanted.shape:
            report.check(False, f"{case.name} {name}: shape {result.shape}, not {wanted.shape}")
            continue
        difference = largest_difference(result, wanted)
        worst = max(worst, difference)
        report.check(difference <= variant["tolerance"], f"{case.name} {name}: differs by {difference:g}")
    print(f"{case.name}: largest difference {worst:.3g}, largest value {max(np.abs(v).max() for v in results.values()):.3g}")
report.finish()
