"""Runs the exports of the golden models in ONNX Runtime, optimizations off, against the reference's own file.

usage: run_exports.py DIRECTORY   (written by onnx_export_golden_test: CASE/model.onnx and CASE/golden.txt)
"""
import pathlib
import sys

import onnx
from common import Report, calls_of, largest_difference, load_file, session

TOLERANCE = 1e-5

report = Report("golden exports in ONNX Runtime")
for case in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    golden = pathlib.Path((case / "golden.txt").read_text().strip())
    onnx.checker.check_model(str(case / "model.onnx"), full_check=True)
    tensors = load_file(golden / "io.safetensors")
    expected = load_file(golden / "ort.safetensors")
    run = session(case / "model.onnx")
    names = [output.name for output in run.get_outputs()]
    worst = 0.0
    for call, inputs in calls_of(tensors).items():
        results = dict(zip(names, run.run(None, inputs)))
        for name, result in results.items():
            wanted = expected[f"{call}.ort_disable_all.{name}"]
            report.check(result.shape == wanted.shape, f"{case.name} {call} {name}: shape {result.shape}, not {wanted.shape}")
            difference = largest_difference(result, wanted)
            worst = max(worst, difference)
            report.check(difference <= TOLERANCE, f"{case.name} {call} {name}: differs by {difference:g}")
    print(f"{case.name}: largest difference {worst:.3g}")
report.finish()
