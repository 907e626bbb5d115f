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
import math
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time

import numpy
import safetensors.torch
import torch
import torch.nn.functional as F

EPSILON = 1.0 / (1 << 24)


def ids_of(vocabulary, batch, length, first):
    at = torch.arange(first, first + batch * length)
    return ((at * 7919) % (vocabulary - 1000) + 1000).view(batch, length)


class Quantizer:
    """One quantizer of the toolkit: collects when it calibrates, fake-quantizes when it has a range."""

    def __init__(self, rows=False):
        self.rows, self.amax, self.mode, self.counts, self.edges = rows, None, "quant", None, None

    def __call__(self, x):
        if self.mode == "max":
            self.amax = x.abs().amax(dim=1, keepdim=True) if self.rows else x.abs().amax()
            return x
        if self.mode == "collect":
            self.collect(x)
            return x
        smallest = self.amax.min()
        if smallest < 0:
            raise ValueError("negative range")
        bound, low = torch.tensor(127.0), torch.tensor(-128.0)
        scale = bound / self.amax
        if smallest <= EPSILON:
            scale = scale.masked_fill(self.amax <= EPSILON, 0)
        return torch.clamp((x * scale).round_(), low, bound) / scale

    def collect(self, x):
        if self.rows:  # weights: the largest magnitude of each row, in every batch
            local = x.abs().amax(dim=1, keepdim=True)
            self.amax = local if self.amax is None else torch.maximum(self.amax, local)
            return
        if x.min() < 0:
            x = x.abs()
        values = x.float().cpu().detach().numpy()
        if self.edges is None:
            self.counts, self.edges = numpy.histogram(values, bins=2048)
            return
        largest = values.max()
        if largest > self.edges[-1]:
            width = self.edges[1] - self.edges[0]
            more = numpy.arange(self.edges[-1] + width, largest + width, width)
            self.edges = numpy.hstack((self.edges, more))
        counts, self.edges = numpy.histogram(values, bins=self.edges)
        counts[: len(self.counts)] += self.counts
        self.counts = counts

    def load(self, percentile):
        if self.edges is not None:
            share = numpy.cumsum(self.counts / self.counts.sum())
            self.amax = torch.tensor(self.edges[numpy.searchsorted(share, percentile / 100)], dtype=torch.float32)


class Model:
    def __init__(self, directory):
        self.config = json.loads((directory / "config.json").read_text())
        self.w = {k: v.float() for k, v in safetensors.torch.load_file(directory / "model.safetensors").items()}
        self.quantizers = {}

    def q(self, name, x, rows=False):
        if name not in self.quantizers:
            self.quantizers[name] = Quantizer(rows)
            self.quantizers[name].mode = self.mode
        return self.quantizers[name](x)

    def set_mode(self, mode):
        self.mode = mode
        for quantizer in self.quantizers.values():
            quantizer.mode = mode

    def linear(self, name, x):
        weight = self.w[name + ".weight"]
        return F.linear(self.q(name + "._in", x), self.q(name + "._w", weight, True), self.w[name + ".bias"])

    def norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], self.config["layer_norm_eps"])

    def residual(self, name, x, base):
        local = self.q(name + ".local", self.linear(name + ".dense", x))
        return self.norm(name + ".LayerNorm", local + self.q(name + ".residual", base))

    def layer(self, name, hidden, mask):
        heads = self.config["num_attention_heads"]
        self_name = name + ".attention.self"

        def split(x):
            return x.view(x.shape[0], x.shape[1], heads, -1).permute(0, 2, 1, 3)

        query, key, value = (split(self.linear(f"{self_name}.{part}", hidden)) for part in ("query", "key", "value"))
        scores = torch.matmul(self.q(self_name + ".q", query), self.q(self_name + ".k", key.transpose(-1, -2)))
        scores = scores / math.sqrt(query.shape[-1])
        probabilities = F.softmax(scores + mask, dim=-1)
        context = torch.matmul(self.q(self_name + ".a", probabilities), self.q(self_name + ".v", value))
        context = context.permute(0, 2, 1, 3).contiguous().view(hidden.shape)
        attended = self.residual(name + ".attention.output", context, hidden)
        return self.residual(name + ".output", F.gelu(self.linear(name + ".intermediate.dense", attended)), attended)

    def __call__(self, ids):
        base = "bert.embeddings."
        positions = torch.arange(ids.shape[1]).unsqueeze(0)
        hidden = F.embedding(ids, self.w[base + "word_embeddings.weight"])
        hidden = hidden + F.embedding(torch.zeros_like(ids), self.w[base + "token_type_embeddings.weight"])
        hidden = hidden + F.embedding(positions, self.w[base + "position_embeddings.weight"])
        hidden = self.norm(base + "LayerNorm", hidden)
        mask = (1.0 - torch.ones_like(ids)[:, None, None, :].float()) * torch.finfo(torch.float32).min
        for i in range(self.config["num_hidden_layers"]):
            hidden = self.layer(f"bert.encoder.layer.{i}", hidden, mask)
        start, _ = F.linear(hidden, self.w["qa_outputs.weight"], self.w["qa_outputs.bias"]).split(1, dim=-1)
        return start.squeeze(-1).contiguous()


def seconds_of(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


class Ours:
    def __init__(self, options):
        self.process = subprocess.Popen(
            [options.binary, "--serve", "1", "--model", options.model, "--batch", str(options.batch), "--length",
             str(options.length), "--threads", str(options.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def __call__(self, request):
        print(request, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


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
    ours = Ours(options)
    ids = ids_of(model.config["vocab_size"], options.batch, options.length, 0)

    model.set_mode("max")
    model(ids)
    model.set_mode("quant")
    with tempfile.NamedTemporaryFile() as file:
        ours("forward " + file.name)
        a = torch.from_numpy(numpy.fromfile(file.name, dtype=numpy.float32)).view(options.batch, options.length)
    b = model(ids)
    difference = float((a - b).norm() / (b - b.mean()).norm())
    # Two forwards that only sum in another order differ by codes that flip; most of the signal must agree.
    if not difference < 0.5:
        raise SystemExit(f"start logits differ by {difference} of their spread")
    our_times, peer_times = [], []
    for _ in range(options.rounds):
        our_times.append(ours("forward"))
        peer_times.append(seconds_of(lambda: model(ids)))
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
        peer_batches.append(seconds_of(lambda: model(data)))
        our_calibrations.append(ours(f"calibrate {batches}"))
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
