#!/usr/bin/env python3
"""Times quant_peer beside numpy on the same data, after checking that the results are equal.

usage: compare_with_numpy.py PATH/TO/quant_peer [--count N] [--json FILE]
"""
import argparse
import json
import math
import pathlib
import subprocess
import tempfile
import time

import numpy as np


def best(run, repeats=5):
    seconds, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def fake_quant(x, amax):
    scale = np.float32(127) / amax
    return np.clip(np.rint(x * scale), np.float32(-128), np.float32(127)) / scale


def entropy_range(counts, edges, levels=128, start=128):
    """The method as published: every prefix of bins against its quantized form, one after the other."""
    counts = counts.copy()
    counts[0] = counts[1]
    total, best_value, best_prefix = counts.sum(), math.inf, None
    for prefix in range(start, len(counts) + 1):
        kept = counts[:prefix].astype(np.float64)
        group = np.arange(prefix) * levels // prefix
        filled = kept != 0
        sums = np.bincount(group, kept, levels)
        sizes = np.bincount(group, filled, levels)
        means = np.divide(sums, sizes, out=np.zeros(levels), where=sizes != 0)
        q = np.where(filled, means[group], 0.0)
        p = kept.copy()
        p[-1] += counts[prefix:].sum()
        p /= total
        q /= q.sum()
        if np.any((p > 0) & (q == 0)):
            continue
        some = p > 0
        value = np.sum(p[some] * np.log(p[some] / q[some]))
        if value <= best_value:
            best_value, best_prefix = value, prefix
    return np.float32(edges[best_prefix])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("quant_peer")
    parser.add_argument("--count", type=int, default=16 * 384 * 384)
    parser.add_argument("--json")
    args = parser.parse_args()

    x = np.random.default_rng(1).standard_normal(args.count, dtype=np.float32)
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory)
        x.tofile(folder / "x.f32")
        subprocess.run([args.quant_peer, folder / "x.f32", folder], check=True)
        ours = json.loads((folder / "result.json").read_text())
        results = {name: np.fromfile(folder / f"{name}.f32", np.float32) for name in ("fake_quant", "backward")}
        results["histogram"] = np.fromfile(folder / "histogram.i64", np.int64)
        edges = np.fromfile(folder / "edges.f64", np.float64)

    seconds = {}
    seconds["abs_max"], amax = best(lambda: np.abs(x).max())
    assert amax == np.float32(ours["amax"]), "abs_max differs"
    seconds["fake_quant"], y = best(lambda: fake_quant(x, amax))
    assert np.array_equal(y, results["fake_quant"]), "fake_quant differs"
    seconds["backward"], grad = best(lambda: np.where(np.abs(x) <= amax / np.float32(2), x, np.float32(0)))
    assert np.array_equal(grad, results["backward"]), "backward differs"
    # Same edges on both sides, so that only the counting is compared, whatever numpy's version makes of linspace.
    bins = edges.astype(np.float32)
    seconds["later_batch"], by_search = best(lambda: np.histogram(np.abs(x), bins=bins)[0])
    assert np.array_equal(by_search, results["histogram"]), "histogram differs"
    seconds["histogram"], _ = best(lambda: np.histogram(np.abs(x), bins=2048))
    seconds["percentile"], index = best(
        lambda: np.searchsorted(np.cumsum(by_search / by_search.sum()), 99.99 / 100))
    assert np.float32(edges[index]) == np.float32(ours["percentile"]), "percentile differs"
    seconds["entropy"], value = best(lambda: entropy_range(by_search, edges), 1)
    assert value == np.float32(ours["entropy"]), "entropy differs"

    rows = {name: {"numpy_s": seconds[name], "qdqbert_s": ours["seconds"][name],
                   "ratio": seconds[name] / ours["seconds"][name]} for name in seconds}
    print(f"{'operation':12} {'numpy ms':>10} {'qdqbert ms':>11} {'ratio':>8}   ({args.count} values, results equal)")
    for name, row in rows.items():
        print(f"{name:12} {row['numpy_s'] * 1e3:10.3f} {row['qdqbert_s'] * 1e3:11.3f} {row['ratio']:8.1f}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"numpy": np.__version__, "count": args.count, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
