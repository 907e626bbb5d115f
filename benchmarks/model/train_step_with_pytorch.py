#!/usr/bin/env python3
"""Times this project's training step beside the original's operators in eager PyTorch from PyPI: the same shipped
weights, token ids, dropout, clipping and AdamW, one process each, turn by turn; medians. Prints a table.

    pip install torch numpy safetensors
    cmake --build build --target train_step      # configured with -DQDQBERT_WITH_BENCHMARKS=ON
    benchmarks/model/train_step_with_pytorch.py --binary build/bin/train_step --model models/minilm-l6-squad

The peer is a stand-in written for this benchmark: every quantizer is an autograd function that runs the tensor operators
of toolkit 2.1.2's Python path and keeps its input for the backward pass, weights are quantized in every pass. First the
losses without dropout are compared. Columns: seconds a step, tokens a second, largest resident size; with --device cuda
both run on one GPU, in a build of the preset cuda, and the size is that of the GPU's memory.
"""

import argparse
import contextlib
import json
import pathlib
import resource
import statistics
import time

import torch
import torch.nn.functional as F

import eager_peer

MODES = {"qat": ("qat", False), "float": ("float", False), "qat-bf16": ("qat", True), "float-bf16": ("float", True)}


class FakeQuant(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, amax):
        ctx.save_for_backward(x, amax)
        smallest = amax.min()
        if smallest < 0:
            raise ValueError("negative range")
        scale = torch.tensor(127.0) / amax
        if smallest <= eager_peer.EPSILON:
            scale = scale.masked_fill(amax <= eager_peer.EPSILON, 0)
        return torch.clamp((x * scale).round_(), torch.tensor(-128.0), torch.tensor(127.0)) / scale

    @staticmethod
    def backward(ctx, gradient):
        x, amax = ctx.saved_tensors
        return torch.where(x.abs() <= amax, gradient, gradient.new_zeros(1)), None


class TrainingModel(eager_peer.Model):
    """The stand-in with dropout and gradients."""

    def __init__(self, directory, quantizes, dropout, device):
        super().__init__(directory)
        self.w = {name: tensor.to(device) for name, tensor in self.w.items()}
        self.quantizes, self.dropout = quantizes, dropout
        self.mode = "quant"
        for tensor in self.w.values():
            tensor.requires_grad_()

    def q(self, name, x, rows=False):
        if not self.quantizes:
            return x
        if name not in self.quantizers:
            self.quantizers[name] = eager_peer.Quantizer(rows)
            self.quantizers[name].mode = self.mode
        quantizer = self.quantizers[name]
        return quantizer(x) if quantizer.mode != "quant" else FakeQuant.apply(x.float(), quantizer.amax)

    def drop(self, x):
        return F.dropout(x, self.dropout) if self.dropout else x

    def loss(self, ids, starts, ends):
        start, end = self.logits(ids)
        return (F.cross_entropy(start, starts) + F.cross_entropy(end, ends)) / 2


class Peer:
    def __init__(self, options, mode, dropout):
        kind, self.bf16 = MODES[mode]
        self.device = torch.device(options.device)
        self.model = TrainingModel(pathlib.Path(options.model), kind == "qat", dropout, self.device)
        self.ids = eager_peer.ids_of(self.model.config["vocab_size"], options.batch, options.length, 0).to(self.device)
        self.starts = torch.arange(options.batch, device=self.device) % options.length
        self.ends = (self.starts + 3) % options.length
        if kind == "qat":
            with torch.no_grad():
                self.model.dropout, kept = 0, self.model.dropout
                self.model.set_mode("max")
                self.model.loss(self.ids, self.starts, self.ends)
                self.model.set_mode("quant")
                self.model.dropout = kept
        self.optimizer = torch.optim.AdamW(self.model.w.values(), lr=1e-6, weight_decay=0)

    def step(self):
        context = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else contextlib.nullcontext()
        with context:
            loss = self.model.loss(self.ids, self.starts, self.ends)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.w.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


def ours_for(options, mode, dropout):
    kind, bf16 = MODES[mode]
    return eager_peer.Served(options, mode=kind, bf16=int(bf16), dropout=dropout, device=options.device)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default="build/bin/train_step")
    parser.add_argument("--model", default="models/minilm-l6-squad")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=176)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    modes = options.modes.split(",")
    tokens = options.batch * options.length

    for mode in modes:
        if MODES[mode][1]:
            continue
        ours, peer = ours_for(options, mode, 0), Peer(options, mode, 0)
        a, b = ours("step")[1], peer.step()
        ours.close()
        # A quantized model amplifies the order of sums.
        if not abs(a - b) < (0.05 if MODES[mode][0] == "qat" else 1e-4) * abs(b):
            raise SystemExit(f"{mode}: the losses differ, {a} and {b}")

    runs = {mode: (ours_for(options, mode, options.dropout), Peer(options, mode, options.dropout)) for mode in modes}
    times = {mode: ([], []) for mode in modes}
    sizes = {}
    for turn in range(options.rounds + 1):
        for mode, (ours, peer) in runs.items():
            seconds, _, sizes[mode] = ours("step")
            begin = time.perf_counter()
            peer.step()
            if turn > 0:  # the first step makes buffers
                times[mode][0].append(seconds)
                times[mode][1].append(time.perf_counter() - begin)
    peer_size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    where = f"{options.threads} threads" if options.device == "cpu" else torch.cuda.get_device_name(options.device)
    print(f"PyTorch {torch.__version__}, {where}, {options.batch} x {options.length} tokens, dropout "
          f"{options.dropout}, medians of {options.rounds}")
    print(f"{'step':12} {'ours s':>8} {'tok/s':>8} {'MiB':>6} {'eager s':>8} {'tok/s':>8} {'faster':>7}")
    figures = {}
    for mode in modes:
        our, peer = (statistics.median(values) for values in times[mode])
        figures[mode] = {"ours": times[mode][0], "peer": times[mode][1], "ratio": peer / our, "mib": sizes[mode]}
        print(f"{mode:12} {our:8.3f} {tokens / our:8.0f} {sizes[mode]:6.0f} {peer:8.3f} {tokens / peer:8.0f} {peer / our:6.1f}x")
    if "qat" in modes and "float" in modes:
        cost = statistics.median(times["qat"][0]) / statistics.median(times["float"][0])
        print(f"QAT costs {cost:.2f} times float fine-tuning; the peer's process, all modes together: {peer_size:.0f} MiB")
    for ours, _ in runs.values():
        ours.close()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"pytorch": torch.__version__, "threads": options.threads, **figures},
                                                         indent=2) + "\n")


if __name__ == "__main__":
    main()
