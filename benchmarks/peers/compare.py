#!/usr/bin/env python3
"""Times whole models beside ONNX Runtime and OpenVINO from PyPI, each in every mode that it offers, on the same sizes
with random weights, in one run: engines take turns, so that whatever else the machine does hits all of them. Outputs
are compared with the Q/DQ file's own meaning (ONNX Runtime without optimizations) before a time counts. Writes JSON;
report.py makes tables of it.

    pip install onnx onnxruntime openvino
    benchmarks/peers/compare.py --build build --json build/benchmarks/peers.json
    benchmarks/peers/report.py build/benchmarks/peers.json --output docs/performance.md

About ten minutes on two cores; --full takes every shape, size and engine; --rows picks groups of rows.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import numpy

from engines import CAPS, ENGINES, QUANTIZED_FORMS, EngineError, Field, cosine, write_input
from models import SIZES, Models, columns, operations

PEERS = [name for name, about in ENGINES.items() if about["worker"] != "ours"]
SHORT = ["ours", "ort-u8s8", "ort-dynamic", "ov-qdq-f32", "ov-qdq-bf16"]
SHORT_LARGE = ["ours", "ort-dynamic", "ov-qdq-f32", "ov-qdq-bf16"]
SHORT_CLASSIFIER = ["ours", "ours-f32", "ort-dynamic", "ov-f32", "ov-bf16", "ov-qdq-f32", "ov-qdq-bf16"]
CAPPED = ["ours", "ov-f32", "ov-qdq-f32", "ov-qdq-f32-streams"]
BEST_OF = {
    "openvino": [name for name in PEERS if name.startswith("ov-")],
    "onnxruntime_int8": ["ort-qdq", "ort-u8s8", "ort-dynamic"],
    "own_f32": ["ours-f32"],
}
SHAPES = [(128, 8), (128, 1), (384, 8), (384, 1)]


def rows_of(groups, full):
    """(group, size, seq, batch, cap, engines) of all rows."""
    everybody = list(ENGINES)
    rows = []
    if "base" in groups:
        rows += [("base", "bert-base", s, b, None, everybody) for s, b in SHAPES]
    if "caps" in groups:
        levels = CAPS if full else ["avx512vnni", "avx2"]
        rows += [
            ("caps", "bert-base", s, b, cap, CAPPED) for cap in levels for s, b in (SHAPES if full else SHAPES[:2])
        ]
    if "minilm" in groups:
        rows += [("minilm", "minilm-l6", s, b, None, everybody if full else SHORT) for s, b in SHAPES]
    if "large" in groups:
        shapes = SHAPES if full else [(128, 8), (384, 1)]
        rows += [("large", "bert-large", s, b, None, everybody if full else SHORT_LARGE) for s, b in shapes]
    if "classifier" in groups:
        rows += [("classifier", "bert-base-classifier", 128, 8, None, everybody if full else SHORT_CLASSIFIER)]
    if "tiny" in groups:
        rows += [("tiny", "tiny", s, b, None, everybody) for s, b in SHAPES[:2]]
    return rows


class Comparison:
    def __init__(self, options, field):
        self.options = options
        self.field = field
        self.reference_cache = {}
        self.ours = os.path.exists(options.engine_worker)
        flags = cpu_flags()
        self.has = {"avx512vnni": "avx512_vnni" in flags, "avxvnni": "avx_vnni" in flags, "avx2": "avx2" in flags}
        self.has_bf16 = "avx512_bf16" in flags or "amx_bf16" in flags

    def input(self, lengths, seq):
        return write_input(os.path.join(self.field.directory, f"input-{len(lengths)}-{seq}.i32"), lengths, seq)

    def reference(self, size, lengths, seq):
        """What the float file and the Q/DQ file say, by ONNX Runtime without its optimizations."""
        key = (size, tuple(lengths), seq)
        if key not in self.reference_cache:
            worker = self.field.worker("onnxruntime")
            input_path = self.input(lengths, seq)
            outputs = []
            for form in ("float", "qdq"):
                path = os.path.join(self.field.directory, "reference.f32")
                worker.ask(
                    do="load",
                    id="reference",
                    model=self.field.models.path(size, form),
                    threads=self.field.threads,
                    plain=True,
                )
                worker.ask(do="run", id="reference", input=input_path, output=path)
                worker.ask(do="forget", id="reference")
                outputs.append(numpy.fromfile(path, dtype=numpy.float32).reshape(-1, len(lengths), columns(size, seq)))
            self.reference_cache[key] = outputs
        return self.reference_cache[key]

    def judge(self, engine, size, seq, outputs):
        """Cosine to the meaning of the engine's file. A correct engine differs from it by flipped codes, whose effect
        is about that of quantization itself: three times 1 - cosine(float, Q/DQ) is allowed. Engines that quantize
        anew have ranges of their own and are allowed ten times that."""
        texts = min(2, outputs.shape[1])
        reference = self.reference(size, [seq] * texts, seq)
        effect = 1 - cosine(*reference)
        form = ENGINES[engine]["form"]
        target = reference[1 if form in QUANTIZED_FORMS else 0]
        allowed = {"qdq": 3, "int8-weights": 3, "float": 1}.get(form, 10) * effect + 1e-4
        found = cosine(outputs[:, :texts], target)
        agreement = float(numpy.mean(outputs[:, :texts].argmax(2) == target.argmax(2)))
        return {"cosine": found, "least_cosine": 1 - allowed, "same_answers": agreement, "valid": found >= 1 - allowed}

    def row(self, group, size, seq, batch, cap, engines):
        options = self.options
        input_path = self.input([seq] * batch, seq)
        results, handles = {}, {}
        for engine in engines:
            about = ENGINES[engine]
            if engine in options.without.split(",") or (about["worker"] == "ours" and not self.ours):
                continue
            if about.get("streams") and (batch == 1 or self.field.threads == 1):
                continue
            if about.get("precision") == "bf16" and not self.has_bf16:
                continue
            try:
                handle = self.field.load(engine, size, batch, seq, cap)
                result = {
                    "load_seconds": handle.load["seconds"],
                    **self.judge(engine, size, seq, handle.outputs(input_path)),
                }
                handle.time(input_path, 0)
            except EngineError as error:
                results[engine] = {"error": str(error)[:300], "valid": False}
                print(f"  {engine}: {str(error)[:200]}", flush=True)
                continue
            if "isa" in handle.load:
                result["isa"] = handle.load["isa"]
            results[engine], handles[engine] = {**result, "slices": [], "least": float("inf")}, handle
        for _ in range(options.rounds):
            for engine, handle in handles.items():
                result = results[engine]
                if not options.full and hopeless(engine, results, options.patience):
                    continue
                runs, interval = handle.time(input_path, options.seconds)
                per_batch = statistics.median(runs) if handle.streams == 1 else interval
                result["slices"].append(per_batch / batch)
                result["least"] = min(result["least"], (min(runs) if handle.streams == 1 else interval) / batch)
                time.sleep(0.02)
        for result in results.values():
            if result.get("slices"):
                result["ms_per_sequence"] = statistics.median(result["slices"])
                result["gops"] = operations(size, 1, seq) / result["ms_per_sequence"] / 1e6
        row = {"group": group, "model": size, "seq": seq, "batch": batch, "cap": cap, "results": results}
        row.update(ratios(results))
        print_row(row)
        return row

    def mixed(self, group, size, lengths):
        """Texts of real lengths: peers pad each batch to its longest text, or take them one by one; ours packs."""
        options = self.options
        seq, short = 96, [96, 50, 17, 3]
        input_path = self.input(short, seq)
        real = numpy.arange(seq)[None, :] < numpy.array(short)[:, None]
        if columns(size, seq) != seq:  # scores of whole texts have no padding
            real = numpy.ones((len(short), columns(size, seq)), bool)
        reference = self.reference(size, short, seq)
        allowed = 3 * (1 - cosine(reference[0][:, real], reference[1][:, real])) + 1e-4
        runs = [("ours", {"budget": options.budget})] if self.ours else []
        for engine in ["ov-qdq-f32", "ort-dynamic"] + (["ov-qdq-bf16"] if self.has_bf16 else []):
            runs += [(engine, {"batch": batch}) for batch in (8, 1)]
        results, handles = {}, {}
        for engine, mode in runs:
            name = engine + "".join(f" {key} {value}" for key, value in mode.items())
            try:
                handle = self.field.load(engine, size, 0, 0)
                handles[name] = (handle, {"lengths": lengths, **mode})
                outputs = handle.outputs(input_path)[:, real]
                found = cosine(outputs, reference[1][:, real])
                own = ENGINES[engine]["form"] not in QUANTIZED_FORMS
                results[name] = {"cosine": found, "valid": found >= 1 - (5 if own else 1) * allowed, "slices": []}
                handle.mixed(**handles[name][1])
            except EngineError as error:
                handles.pop(name, None)
                results[name] = {"error": str(error)[:300], "valid": False}
        for _ in range(options.rounds if options.full else 1):
            for name, (handle, command) in handles.items():
                results[name]["slices"].append(1e3 * handle.mixed(**command) / len(lengths))
        for result in results.values():
            if result.get("slices"):
                result["ms_per_sequence"] = result["least"] = statistics.median(result["slices"])
        row = {
            "group": group,
            "model": size,
            "texts": len(lengths),
            "mean_length": statistics.mean(lengths),
            "results": results,
            **ratios(results),
        }
        print_row(row)
        return row


def hopeless(engine, results, patience):
    """Whether a first turn has shown that this engine is not the best mode of its maker. Its figure stays."""
    rivals = next((names for names in BEST_OF.values() if engine in names), [])
    first = [results[name]["slices"][0] for name in rivals if results.get(name, {}).get("slices")]
    return bool(results[engine]["slices"]) and results[engine]["slices"][0] > patience * min(first, default=1e30)


def ratios(results):
    """How much faster the best of ours is than the best mode of each peer, by medians."""
    times = {name: r["ms_per_sequence"] for name, r in results.items() if r.get("valid") and "ms_per_sequence" in r}

    def best(*engines):
        return min((name for name in times if name.split(" ")[0] in engines), key=times.get, default=None)

    ours = best("ours", "ours-streams")
    found = {"best_ours": ours} if ours else {}
    for key, engines in BEST_OF.items():
        peer = best(*engines)
        if peer:
            found[f"best_{key}"] = peer
            if ours:
                found[f"times_{key}"] = times[peer] / times[ours]
    return found


def print_row(row):
    shape = (
        f"S={row['seq']} B={row['batch']}"
        if "seq" in row
        else f"{row['texts']} {row['group']} of SQuAD dev, {row['mean_length']:.0f} tokens each"
    )
    print(f"{row['model']} {shape}" + (f", everybody held to {row['cap']}" if row.get("cap") else ""))
    for name, result in row["results"].items():
        if "ms_per_sequence" in result:
            mark = "" if result["valid"] else "  OUTPUTS DIFFER: does not count"
            line = f"  {name:24} {result['ms_per_sequence']:9.2f} ms a sequence (least {result['least']:.2f})"
            if "gops" in result:
                line += f" {result['gops']:8.0f} GOP/s"
            line += f"  cosine {result['cosine']:.5f}"
            if "same_answers" in result:
                line += f"  same answers {result['same_answers']:.2f}"
            print(line + mark)
    for key in BEST_OF:
        if f"times_{key}" in row:
            print(f"  {row['best_ours']} is {row['times_' + key]:.2f}x {row['best_' + key]}")
    sys.stdout.flush()


def bench_verb(options, models, size, caps):
    """Latency, memory and share of the measured peak as `qdqbert bench` reports them; under each cap for its peak."""
    found = {}
    for name, form, more in [("int8-weights", "int8-weights", []), ("qdq", "qdq", [])] + [
        (cap, "qdq", ["--isa", cap]) for cap in caps
    ]:
        path = os.path.join(models.directory, "bench.json")
        command = [options.binary, "bench", models.path(size, form), "--batch", "8", "--seq", "128", "--json", path]
        command += ["--threads", str(options.threads), "--seconds", str(2 * options.seconds), *more]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
            with open(path, encoding="utf-8") as file:
                found[name] = json.load(file)
            share, memory = found[name].get("share_of_peak"), found[name].get("peak_rss_mb")
            latency = found[name].get("latency_ms", {}).get("median")
            print(f"bench {size} {name}: {latency} ms a batch, share of peak {share}, {memory} MB", flush=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"bench {size} {name}: {getattr(error, 'stderr', error)}", flush=True)
    return found


def command_of(parser, options):
    """The command as it can be repeated elsewhere: without where this machine keeps its files."""
    words = ["benchmarks/peers/compare.py"]
    for name in ("threads", "seconds", "rounds", "rows", "without", "texts", "budget", "patience"):
        if getattr(options, name) != parser.get_default(name):
            words.append(f"--{name} {getattr(options, name)}")
    return " ".join(words + ["--full"] * options.full)


def cpu_flags():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line for line in file if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return []


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def sampled_lengths(options, whole_texts=False):
    """Of features of questions, or of questions and paragraphs as texts of their own."""
    command = [options.squad_lengths, options.squad, options.vocab, *(["texts"] if whole_texts else ["384", "128"])]
    lengths = [int(line) for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]
    return lengths if options.full else lengths[:: max(1, len(lengths) // options.texts)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=0.4, help="of one engine's turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--patience", type=float, default=2.5, help="modes this much slower than their maker's best get one turn"
    )
    parser.add_argument(
        "--rows",
        default="base,caps,mixed,minilm,large,classifier,texts",
        help="groups: base, caps, mixed, minilm, large, classifier, texts, tiny",
    )
    parser.add_argument("--full", action="store_true", help="every shape, engine, round and text")
    parser.add_argument("--prepare", action="store_true", help="only make the model files, which are kept")
    parser.add_argument("--without", default="", help="engines to leave out, with commas between")
    parser.add_argument("--texts", type=int, default=128, help="texts of the mixed row")
    parser.add_argument("--budget", type=int, default=3072, help="tokens of our batches in the mixed row")
    parser.add_argument("--models", help="directory for the model files; BUILD/benchmarks/models by default")
    parser.add_argument("--squad", default="data/squad-v1.1-dev.json.gz")
    parser.add_argument("--vocab", default="data/bert-base-uncased-vocab.txt")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    options.engine_worker = os.path.join(options.build, "bin", "engine_worker")
    options.squad_lengths = os.path.join(options.build, "bin", "squad_lengths")
    options.binary = os.path.join(options.build, "bin", "qdqbert")

    import onnxruntime
    import openvino

    directory = options.models or os.path.join(options.build, "benchmarks", "models")
    models = Models(directory, os.path.join(options.build, "bin", "make_model"))
    field = Field(models, options.engine_worker, options.threads, models.directory)
    comparison = Comparison(options, field)
    groups = options.rows.split(",")
    figures = {
        "cpu": cpu_name(),
        "threads": options.threads,
        "date": time.strftime("%Y-%m-%d"),
        "versions": {"onnxruntime": onnxruntime.__version__, "openvino": openvino.__version__.split("-")[0]},
        "command": command_of(parser, options),
        "rows": [],
        "bench": {},
    }
    start = time.monotonic()
    peers = "ONNX Runtime {onnxruntime}, OpenVINO {openvino}".format(**figures["versions"])
    print(f"{figures['cpu']}, {options.threads} threads, {peers}", flush=True)

    def save():
        figures["minutes"] = (time.monotonic() - start) / 60
        if options.json:
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump(figures, file, indent=2)
                file.write("\n")

    if options.prepare:
        for _, size, _, _, _, engines in rows_of(groups, options.full):
            for form in dict.fromkeys(
                ["float", "qdq", "int8-weights", *(ENGINES[engine]["form"] for engine in engines)]
            ):
                models.path(size, form)
        return
    rows = rows_of(groups, options.full)
    if os.path.exists(options.binary) and "tiny" not in groups:
        caps = dict.fromkeys(cap for _, _, _, _, cap, _ in rows if cap and comparison.has[cap])
        if set(groups) - {"classifier", "texts"}:
            figures["bench"] = bench_verb(options, models, "bert-base", caps)
    for group, size, seq, batch, cap, engines in rows:
        if cap and not comparison.has[cap]:
            continue
        figures["rows"].append(comparison.row(group, size, seq, batch, cap, engines))
        field.forget(lambda engine, loaded, size=size: loaded == size and ENGINES[engine]["worker"] != "openvino")
        save()
    if "mixed" in groups:
        figures["rows"].append(comparison.mixed("mixed", "bert-base", sampled_lengths(options)))
        save()
    if "texts" in groups:
        lengths = sampled_lengths(options, whole_texts=True)
        figures["rows"].append(comparison.mixed("texts", "bert-base-classifier", lengths))
        save()
    field.close()
    print(f"{figures['minutes']:.1f} minutes")


if __name__ == "__main__":
    main()
