#!/usr/bin/env python3
"""ONNX Runtime or OpenVINO behind the line protocol of engine_worker.cc: one JSON object a line on stdin, one answer a
line on stdout. Started by compare.py, one process an engine, so that no two of them share a process.

    peer_worker.py onnxruntime|openvino
"""

import json
import sys
import time

import numpy


def read_input(path):
    """int32: batch, length, `batch` text lengths, batch * length ids."""
    numbers = numpy.fromfile(path, dtype=numpy.int32)
    batch, length = int(numbers[0]), int(numbers[1])
    return make_feed(numbers[2 + batch :].reshape(batch, length), numbers[2 : 2 + batch])


def make_feed(ids, lengths):
    mask = numpy.arange(ids.shape[1])[None, :] < numpy.asarray(lengths)[:, None]
    return {
        "input_ids": ids.astype(numpy.int64),
        "attention_mask": mask.astype(numpy.int64),
        "token_type_ids": numpy.zeros(ids.shape, numpy.int64),
    }


class OnnxRuntime:
    def __init__(self, command):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = command["threads"]
        options.log_severity_level = 3
        if command.get("plain"):
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(command["model"], options, providers=["CPUExecutionProvider"])

    def run(self, feed):
        return self.session.run(None, feed)

    def repeat(self, feed, seconds):
        return repeat(lambda: self.session.run(None, feed), seconds)


class OpenVino:
    """`shape` compiles for it alone, which is the faster mode; without it shapes are dynamic. With several streams
    as many batches are in flight."""

    def __init__(self, command):
        import openvino

        core = openvino.Core()
        model = core.read_model(command["model"])
        if command.get("shape"):
            model.reshape({each.any_name: command["shape"] for each in model.inputs})
        streams = command.get("streams", 1)
        self.compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": command["precision"],
                "INFERENCE_NUM_THREADS": command["threads"],
                "NUM_STREAMS": streams,
                "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            },
        )
        self.requests = [self.compiled.create_infer_request() for _ in range(streams)]

    def run(self, feed):
        request = self.requests[0]
        request.infer(feed)
        return [numpy.array(request.get_output_tensor(i).data) for i in range(len(self.compiled.outputs))]

    def repeat(self, feed, seconds):
        if len(self.requests) == 1:
            return repeat(lambda: self.requests[0].infer(feed), seconds)
        runs, begun = [], {}
        start = time.perf_counter()
        for request in self.requests:
            begun[id(request)] = time.perf_counter()
            request.start_async(feed)
        waiting = list(self.requests)
        while waiting:
            request = waiting.pop(0)
            request.wait()
            now = time.perf_counter()
            runs.append(now - begun[id(request)])
            if now - start < seconds:
                begun[id(request)] = now
                request.start_async(feed)
                waiting.append(request)
        return runs, time.perf_counter() - start


def repeat(call, seconds):
    runs = []
    start = now = time.perf_counter()
    while True:
        call()
        then, now = now, time.perf_counter()
        runs.append(now - then)
        if now - start >= seconds:
            return runs, now - start


def mixed(engine, lengths, batch):
    """All texts, longest first so that texts of a batch are of a length, padded to the batch's longest."""
    lengths = sorted(lengths, reverse=True)
    feeds = []
    for first in range(0, len(lengths), batch):
        some = lengths[first : first + batch]
        ids = 1000 + numpy.arange(len(some) * some[0]).reshape(len(some), some[0]) * 7919 % 20000
        feeds.append(make_feed(ids, some))
    start = time.perf_counter()
    for feed in feeds:
        engine.run(feed)
    return time.perf_counter() - start


def answer_to(kind, engines, command):
    what, name = command["do"], command["id"]
    if what == "load":
        start = time.perf_counter()
        engines[name] = kind(command)
        return {"seconds": time.perf_counter() - start}
    engine = engines[name]
    if what == "run":
        outputs = engine.run(read_input(command["input"]))
        numpy.concatenate([numpy.asarray(each, numpy.float32).ravel() for each in outputs]).tofile(command["output"])
        return {}
    if what == "time":
        runs, elapsed = engine.repeat(read_input(command["input"]), command["seconds"])
        return {"runs": runs, "elapsed": elapsed}
    if what == "mixed":
        return {"seconds": mixed(engine, command["lengths"], command["batch"])}
    if what != "forget":
        raise ValueError(f"there is no command {what}")
    del engines[name]
    return {}


def main():
    kind = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}[sys.argv[1]]
    engines = {}
    for line in sys.stdin:
        try:
            answer = answer_to(kind, engines, json.loads(line))
        except Exception as error:  # whatever a peer throws is an answer, and the worker goes on
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
