#!/usr/bin/env python3
"""Times this project's fake-quantized forward pass and its calibration beside the original's operators in eager
PyTorch from PyPI: the same shipped weights, the same token ids, one process each, in turn; medians.

    pip install torch numpy safetensors
    benchmarks/model/compare_with_pytorch.py --binary build/bin/model_benchmark --model models/minilm-l6-squad

The peer is a stand-in written for this benchmark: every quantizer runs the tensor operators of toolkit 2.1.2's Python
path (range check, scale, multiply, round, clamp, divide), weights are quantized in every pass, and calibration takes
numpy histograms of every activation, as its default calibrator does. Start logits of both are compared first.

Calibration of 128 features is run in full on our side. On the peer's it is the first batch, which makes the histograms,
plus the median of the later batches that were timed, as many times as there are batches.
"""

import argparse
import json
import pathlib
import platform
import statistics
import tempfile
import time

import numpy
import torch

from eager_peer import Model, Served, ids_of


def seconds_of(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default="build/bin/model_benchmark")
    parser.add_argument("--model", default="models/minilm-l6-squad")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--features", type=int, default=128, help="of the calibration")
    parser.add_argument("--calibration-batches", type=int, default=3, help="that the peer is timed on")
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    model = Model(pathlib.Path(options.model))
    ours = Served(options)
    ids = ids_of(model.config["vocab_size"], options.batch, options.length, 0)

    model.set_mode("max")
    model.logits(ids)
    model.set_mode("quant")
    with tempfile.NamedTemporaryFile() as file:
        ours("forward " + file.name)
        a = torch.from_numpy(numpy.fromfile(file.name, dtype=numpy.float32)).view(options.batch, options.length)
    b, _ = model.logits(ids)
    difference = float((a - b).norm() / (b - b.mean()).norm())
    # Two forwards that only sum in another order differ by codes that flip; most of the signal must agree.
    if not difference < 0.5:
        raise SystemExit(f"start logits differ by {difference} of their spread")
    our_times, peer_times = [], []
    for _ in range(options.rounds):
        our_times += ours("forward")
        peer_times.append(seconds_of(lambda: model.logits(ids)))
    our, peer = statistics.median(our_times), statistics.median(peer_times)
    print(f"PyTorch {torch.__version__}, {options.threads} threads, {options.batch} x {options.length} tokens, start logits "
          f"differ by {difference:.4f} of their spread")
    print(f"fake-quantized forward: ours {our:.3f} s, PyTorch eager {peer:.3f} s: {peer / our:.1f} times as fast")

    batches = -(-options.features // options.batch)
    model.quantizers = {}
    model.set_mode("collect")
    peer_batches, our_calibrations = [], []
    for i in range(options.calibration_batches):
        data = ids_of(model.config["vocab_size"], options.batch, options.length, 1000 * (i + 1))
        peer_batches.append(seconds_of(lambda: model.logits(data)))
        our_calibrations += ours(f"calibrate {batches}")
    ranges = seconds_of(lambda: [quantizer.load(99.999) for quantizer in model.quantizers.values()])
    peer_total = peer_batches[0] + (batches - 1) * statistics.median(peer_batches[1:]) + ranges
    our_total = statistics.median(our_calibrations)
    print(f"calibration on {options.features} features: ours {our_total:.2f} s, PyTorch and numpy {peer_total:.1f} s "
          f"(from {options.calibration_batches} of {batches} batches): {peer_total / our_total:.1f} times as fast")
    ours.close()
    if options.json:
        figures = {
            "pytorch": torch.__version__, "threads": options.threads, "batch": options.batch, "length": options.length,
            "machine": platform.processor(), "forward": {"ours": our_times, "peer": peer_times, "ratio": peer / our},
            "calibration": {"ours": our_calibrations, "peer_batches": peer_batches, "peer": peer_total,
                            "ratio": peer_total / our_total},
            "relative_difference": difference}
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
