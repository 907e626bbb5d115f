"""Who takes part in the comparison, and the processes that they run in."""

import json
import os
import subprocess
import sys
import tempfile

import numpy

from models import columns

HERE = os.path.dirname(os.path.abspath(__file__))

# Levels that both sides can be held to: our ISA, and oneDNN's name for it (OpenVINO reads the variable).
CAPS = {"avx512vnni": "AVX512_CORE_VNNI", "avxvnni": "AVX2_VNNI", "avx2": "AVX2"}

# id: worker, form of the model, options. `int8`: answers are compared with the Q/DQ file's own; else with float's.
ENGINES = {
    "ours": {"worker": "ours", "form": "qdq", "label": "qdqbert, this Q/DQ file"},
    "ours-streams": {"worker": "ours", "form": "qdq", "streams": True, "label": "qdqbert, a batch for each thread"},
    "ours-f32": {"worker": "ours", "form": "float", "precision": "f32", "label": "qdqbert FP32"},
    "ours-bf16": {"worker": "ours", "form": "float", "precision": "bf16", "label": "qdqbert BF16"},
    "ort-f32": {"worker": "onnxruntime", "form": "float", "label": "ONNX Runtime FP32"},
    "ort-qdq": {"worker": "onnxruntime", "form": "qdq", "label": "ONNX Runtime, this Q/DQ file"},
    "ort-u8s8": {"worker": "onnxruntime", "form": "u8s8", "label": "ONNX Runtime, its U8S8 static quantization"},
    "ort-dynamic": {"worker": "onnxruntime", "form": "dynamic", "label": "ONNX Runtime, dynamic quantization"},
    "ov-f32": {"worker": "openvino", "form": "float", "precision": "f32", "label": "OpenVINO FP32"},
    "ov-bf16": {"worker": "openvino", "form": "float", "precision": "bf16", "label": "OpenVINO BF16"},
    "ov-qdq-f32": {"worker": "openvino", "form": "qdq", "precision": "f32", "label": "OpenVINO, this Q/DQ file, f32"},
    "ov-qdq-bf16": {
        "worker": "openvino",
        "form": "qdq",
        "precision": "bf16",
        "label": "OpenVINO, this Q/DQ file, bf16",
    },
    "ov-qdq-f32-streams": {
        "worker": "openvino",
        "form": "qdq",
        "precision": "f32",
        "streams": True,
        "label": "OpenVINO, this Q/DQ file, f32, a batch for each thread",
    },
}
QUANTIZED_FORMS = ("qdq", "int8-weights")


class EngineError(Exception):
    pass


class Worker:
    """A process that answers one JSON line with one JSON line."""

    def __init__(self, command, environment):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **environment},
        )

    def ask(self, **command):
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.log.seek(0)
            raise EngineError(f"the process ended: {self.log.read().decode(errors='replace')[-500:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Field:
    """Starts workers when they are first needed: one for each engine and cap."""

    def __init__(self, models, engine_worker, threads, directory):
        self.models = models
        self.engine_worker = engine_worker
        self.threads = threads
        self.directory = directory
        self.workers = {}
        self.loaded = {}

    def worker(self, kind, cap=None):
        key = (kind, None if kind == "ours" else cap)
        if key not in self.workers:
            environment = {}
            if cap and kind != "ours":
                environment = {"ONEDNN_MAX_CPU_ISA": CAPS[cap], "DNNL_MAX_CPU_ISA": CAPS[cap]}
            command = [self.engine_worker] if kind == "ours" else [sys.executable, f"{HERE}/peer_worker.py", kind]
            self.workers[key] = Worker(command, environment)
        return self.workers[key]

    def load(self, engine, size, batch, seq, cap=None, isa=None):
        """Loads unless it is loaded; OpenVINO compiles for every shape. batch 0: any shape."""
        about = ENGINES[engine]
        shaped = about["worker"] == "openvino" and batch > 0
        key = (engine, size, cap, isa, (batch, seq) if shaped else None)
        if key in self.loaded:
            return self.loaded[key]
        command = {
            "do": "load",
            "id": "/".join(map(str, key)),
            "model": self.models.path(size, about["form"]),
            "threads": self.threads,
            "streams": self.threads if about.get("streams") else 1,
            "precision": about.get("precision", "auto"),
        }
        if shaped:
            command["shape"] = [batch, seq]
        if about["worker"] == "ours" and (isa or cap):
            command["isa"] = isa or cap
        handle = Handle(self, self.worker(about["worker"], cap), command["id"], engine, size, command["streams"])
        handle.load = handle.worker.ask(**command)
        self.loaded[key] = handle
        return handle

    def forget(self, keep):
        """Unloads everything but engines for which keep(engine, size) holds."""
        for key in [key for key in self.loaded if not keep(key[0], key[1])]:
            handle = self.loaded.pop(key)
            handle.worker.ask(do="forget", id=handle.name)

    def close(self):
        for worker in self.workers.values():
            worker.close()


class Handle:
    """One loaded model."""

    def __init__(self, field, worker, name, engine, size, streams):
        self.field, self.worker, self.name, self.engine, self.streams = field, worker, name, engine, streams
        self.size = size
        self.load = {}

    def outputs(self, input_path):
        """[outputs, batch, scores] float32"""
        batch, seq = numpy.fromfile(input_path, dtype=numpy.int32, count=2)
        path = os.path.join(self.field.directory, "output.f32")
        self.worker.ask(do="run", id=self.name, input=input_path, output=path)
        return numpy.fromfile(path, dtype=numpy.float32).reshape(-1, batch, columns(self.size, seq))

    def time(self, input_path, seconds):
        """Milliseconds a batch for each run, and the mean milliseconds between finished batches."""
        answer = self.worker.ask(do="time", id=self.name, input=input_path, seconds=seconds)
        return [1e3 * run for run in answer["runs"]], 1e3 * answer["elapsed"] / len(answer["runs"])

    def mixed(self, **options):
        return self.worker.ask(do="mixed", id=self.name, **options)["seconds"]


def write_input(path, lengths, seq):
    """Texts of random ids; text i is the same whatever the batch is."""
    ids = numpy.stack([numpy.random.default_rng(i).integers(1000, 20000, seq) for i in range(len(lengths))])
    numpy.concatenate([[len(lengths), seq], lengths, ids.ravel()]).astype(numpy.int32).tofile(path)
    return path


def cosine(a, b):
    a, b = a.astype(numpy.float64).ravel(), b.astype(numpy.float64).ravel()
    return float(a @ b / (numpy.linalg.norm(a) * numpy.linalg.norm(b) + 1e-300))
