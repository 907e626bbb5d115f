"""The original's operators in eager PyTorch, a stand-in to time beside, and this project's programs that answer it."""

import json
import math
import os
import subprocess

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

    def drop(self, x):
        return x

    def residual(self, name, x, base):
        local = self.q(name + ".local", self.drop(self.linear(name + ".dense", x)))
        return self.norm(name + ".LayerNorm", local + self.q(name + ".residual", base))

    def layer(self, name, hidden, mask):
        heads = self.config["num_attention_heads"]
        self_name = name + ".attention.self"

        def split(x):
            return x.view(x.shape[0], x.shape[1], heads, -1).permute(0, 2, 1, 3)

        query, key, value = (split(self.linear(f"{self_name}.{part}", hidden)) for part in ("query", "key", "value"))
        scores = torch.matmul(self.q(self_name + ".q", query), self.q(self_name + ".k", key.transpose(-1, -2)))
        scores = scores / math.sqrt(query.shape[-1])
        probabilities = self.drop(F.softmax(scores + mask, dim=-1))
        context = torch.matmul(self.q(self_name + ".a", probabilities), self.q(self_name + ".v", value))
        context = context.permute(0, 2, 1, 3).contiguous().view(hidden.shape)
        attended = self.residual(name + ".attention.output", context, hidden)
        return self.residual(name + ".output", F.gelu(self.linear(name + ".intermediate.dense", attended)), attended)

    def logits(self, ids):
        """Of starts and ends, [B, S] each."""
        base = "bert.embeddings."
        positions = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
        hidden = F.embedding(ids, self.w[base + "word_embeddings.weight"])
        hidden = hidden + F.embedding(torch.zeros_like(ids), self.w[base + "token_type_embeddings.weight"])
        hidden = hidden + F.embedding(positions, self.w[base + "position_embeddings.weight"])
        hidden = self.drop(self.norm(base + "LayerNorm", hidden))
        mask = (1.0 - torch.ones_like(ids)[:, None, None, :].float()) * torch.finfo(torch.float32).min
        for i in range(self.config["num_hidden_layers"]):
            hidden = self.layer(f"bert.encoder.layer.{i}", hidden, mask)
        start, end = F.linear(hidden, self.w["qa_outputs.weight"], self.w["qa_outputs.bias"]).float().split(1, dim=-1)
        return start.squeeze(-1).contiguous(), end.squeeze(-1).contiguous()


class Served:
    """A benchmark program of this project with --serve 1: it answers a line with a line."""

    def __init__(self, options, **flags):
        flags = {"model": options.model, "batch": options.batch, "length": options.length, "threads": options.threads,
                 **flags}
        words = [str(word) for name, value in flags.items() for word in ("--" + name, value)]
        # As `qdqbert` sets it for its training verbs.
        environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
        self.process = subprocess.Popen([options.binary, "--serve", "1", *words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment)

    def __call__(self, request):
        """The numbers of the answer."""
        print(request, file=self.process.stdin, flush=True)
        return [float(word) for word in self.process.stdout.readline().split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
