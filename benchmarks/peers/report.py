#!/usr/bin/env python3
"""Tables of docs/performance.md from the JSON of compare.py, a section for each processor. Whatever else the document
says stays; the section of a processor that is measured again is replaced.

    benchmarks/peers/report.py build/benchmarks/peers.json [--output docs/performance.md]
"""

import argparse
import json
import os
import re

from engines import ENGINES

# What must be reached: (what it is, which rows, key of the ratio, bar, aim). A row is (group, seq, batch), None: any.
BARS = [
    ("throughput S=128 B=8 against OpenVINO's best mode", ("base", 128, 8), "times_openvino", 3, 5),
    ("throughput S=384 B=8 against OpenVINO's best mode", ("base", 384, 8), "times_openvino", 3, 5),
    ("throughput S=128 B=8 against ONNX Runtime's best INT8", ("base", 128, 8), "times_onnxruntime_int8", 4, None),
    ("throughput S=384 B=8 against ONNX Runtime's best INT8", ("base", 384, 8), "times_onnxruntime_int8", 4, None),
    ("latency S=128 B=1 against OpenVINO's best mode", ("base", 128, 1), "times_openvino", 2, 3),
    ("latency S=384 B=1 against OpenVINO's best mode", ("base", 384, 1), "times_openvino", 2, 3),
    ("real lengths against OpenVINO's best mode", ("mixed", None, None), "times_openvino", 3.5, None),
    ("classification S=128 B=8 against OpenVINO's best mode", ("classifier", 128, 8), "times_openvino", 3, None),
    ("classification of SQuAD's questions and paragraphs against OpenVINO's best mode", ("texts", None, None), "times_openvino", 3.5, None),
    ("INT8 against our own FP32, S=128 B=8", ("base", 128, 8), "times_own_f32", 6, None),
    ("both held to an instruction set, against OpenVINO's best mode", ("caps", None, None), "times_openvino", 2, None),
    ("MiniLM-L6, throughput B=8", ("minilm", None, 8), "times_openvino", 3, 5),
    ("MiniLM-L6, latency B=1", ("minilm", None, 1), "times_openvino", 2, 3),
    ("BERT-large, throughput B=8", ("large", None, 8), "times_openvino", 3, 5),
    ("BERT-large, latency B=1", ("large", None, 1), "times_openvino", 2, 3),
]


def label(name):
    engine, _, mode = name.partition(" ")
    text = ENGINES[engine]["label"]
    if mode.startswith("batch"):
        return f"{text}, batches of {mode.split()[1]}" if mode != "batch 1" else f"{text}, one by one"
    return f"{text}, packed by tokens" if mode else text


def shape(row):
    return f"S={row['seq']} B={row['batch']}" if "seq" in row else f"{row['texts']} texts"


def cell(result):
    if not result or "ms_per_sequence" not in result:
        return ""
    value = result["ms_per_sequence"]
    text = f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return text if result["valid"] else f"({text})"


def engine_table(rows, title):
    names = [
        name
        for engine in ENGINES
        for name in dict.fromkeys(n for row in rows for n in row["results"])
        if name.split(" ")[0] == engine
    ]
    lines = [f"**{title}**, ms a sequence, medians:", "", "| engine | " + " | ".join(shape(row) for row in rows) + " |"]
    lines.append("| --- |" + " ---: |" * len(rows))
    for name in names:
        cells = [cell(row["results"].get(name)) for row in rows]
        if any(cells):
            lines.append(f"| {label(name)} | " + " | ".join(cells) + " |")
    return lines + [""]


def matches(row, key, group, seq, batch):
    return row["group"] == group and seq in (None, row.get("seq")) and batch in (None, row.get("batch")) and key in row


def share_of_peak(bench, row, name):
    """Of the peak of INT8 products that `qdqbert bench` measured with all threads under the same cap."""
    peak = bench.get(row.get("cap") or "qdq", {}).get("peak_gops")
    gops = row["results"][name].get("gops")
    return f"{100 * gops / peak:.0f} %" if peak and gops else ""


def bars_table(rows, bench):
    lines = ["| what | bar | aim | measured | share of the peak | against | its share |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | --- | ---: |")
    for what, (group, seq, batch), key, bar, aim in BARS:
        for row in rows:
            if not matches(row, key, group, seq, batch):
                continue
            where = "" if seq or group in ("mixed", "texts") else f", {shape(row)}"
            where += f", `{row['cap']}`" if row.get("cap") else ""
            peer = row[key.replace("times_", "best_")]
            mark = "" if row[key] >= bar else " (not reached)"
            cells = [
                what + where,
                f"{bar}×",
                f"{aim}×" if aim else "",
                f"**{row[key]:.2f}×**{mark}",
                share_of_peak(bench, row, row["best_ours"]),
                label(peer),
                share_of_peak(bench, row, peer),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return lines + [
        "",
        "The peak is that of INT8 products, as `qdqbert bench` measures it with all threads in the same run. While both",
        "sides multiply in INT8, no ratio can be larger than 100 % over the other side's share.",
        "",
    ]


def bench_table(bench):
    if not bench:
        return []
    lines = [
        "`qdqbert bench`, BERT-base, S=128 B=8:",
        "",
        "| file | ISA | ms a batch (median, p99) | sequences a second | share of the measured peak | peak memory, MB |",
    ]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for form, found in bench.items():
        latency = found.get("latency_ms", {})
        share = found.get("share_of_peak")
        cells = [
            form,
            str(found.get("isa")),
            f"{latency.get('median', 0):.1f}, {latency.get('p99', 0):.1f}",
            f"{found.get('throughput_sequences_per_second', 0):.0f}",
            f"{100 * share:.0f} %" if isinstance(share, float) else "",
            f"{found.get('peak_rss_mb', 0):.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines + [""]


def name_of(figures):
    """Of the section: runs of classification alone have one of their own."""
    alone = all(row["group"] in ("classifier", "texts") for row in figures["rows"])
    return f"{figures['cpu']}, {figures['threads']} threads" + (", classification" if alone else "")


def section(figures):
    versions = figures["versions"]
    lines = [
        f"### {name_of(figures)}",
        "",
        f"{figures['date']}, ONNX Runtime {versions['onnxruntime']}, OpenVINO {versions['openvino']},"
        f" `{figures['command']}`."
        " Figures in parentheses do not count: the outputs are too far from the file's own meaning.",
        "",
    ]
    rows = figures["rows"]
    if any("best_ours" in row for row in rows):
        lines += bars_table(rows, figures.get("bench") or {})
    for group, title in (
        ("base", "BERT-base"),
        ("minilm", "MiniLM-L6-H384"),
        ("large", "BERT-large"),
        ("classifier", "BERT-base with a classifier of 77 labels"),
        ("tiny", "Tiny"),
    ):
        if some := [row for row in rows if row["group"] == group]:
            lines += engine_table(some, title)
    for cap in dict.fromkeys(row["cap"] for row in rows if row["group"] == "caps"):
        lines += engine_table(
            [row for row in rows if row["group"] == "caps" and row["cap"] == cap],
            f"BERT-base, everybody held to `{cap}`",
        )
    for row in rows:
        if row["group"] == "mixed":
            lines += engine_table(
                [row], f"BERT-base, SQuAD dev features at 384/128, {row['mean_length']:.0f} tokens on average"
            )
        if row["group"] == "texts":
            lines += engine_table(
                [row],
                "BERT-base with a classifier of 77 labels, questions and paragraphs of SQuAD dev, "
                f"{row['mean_length']:.0f} tokens on average",
            )
    return "\n".join(lines + bench_table(figures.get("bench"))).rstrip() + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json")
    parser.add_argument("--output", help="document to put the section into; without it the section is printed")
    options = parser.parse_args()
    with open(options.json, encoding="utf-8") as file:
        figures = json.load(file)
    text = section(figures)
    if not options.output:
        print(text, end="")
        return
    name = f"peers {name_of(figures)}"
    marked = f"<!-- {name} -->\n{text}<!-- end of {name} -->\n"
    document = "# Performance\n\n## Whole models beside ONNX Runtime and OpenVINO\n"
    if os.path.exists(options.output):
        with open(options.output, encoding="utf-8") as file:
            document = file.read()
    pattern = re.compile(f"<!-- {re.escape(name)} -->\n.*?<!-- end of {re.escape(name)} -->\n", re.S)
    document = (
        pattern.sub(lambda _: marked, document) if pattern.search(document) else document.rstrip() + "\n\n" + marked
    )
    with open(options.output, "w", encoding="utf-8") as file:
        file.write(document)


if __name__ == "__main__":
    main()
