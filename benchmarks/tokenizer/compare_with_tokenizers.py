#!/usr/bin/env python3
"""Times this project's tokenizer beside PyPI's `tokenizers` (the Hugging Face fast tokenizer) on the contexts and
questions of a SQuAD file: same texts, same vocabulary, same run, rounds of both in turn. First checks that ids and
offsets of every text are equal. Prints a table; --json FILE holds the figures.

    pip install tokenizers
    benchmarks/tokenizer/compare_with_tokenizers.py --binary build/bin/tokenizer_benchmark \\
        --vocab data/bert-base-uncased-vocab.txt --data data/squad-v1.1-dev.json.gz
"""

import argparse
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

# Read by the peer when it is loaded: one thread, as the ratio is per thread.
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers  # noqa: E402
from tokenizers import normalizers, pre_tokenizers  # noqa: E402
from tokenizers.models import WordPiece  # noqa: E402


def read_texts(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    return {
        "contexts": [paragraph["context"] for paragraph in paragraphs],
        "questions": [qa["question"] for paragraph in paragraphs for qa in paragraph["qas"]],
    }


def make_peer(vocabulary_path, lower_case):
    with open(vocabulary_path, encoding="utf-8", newline="\n") as file:
        tokens = file.read().split("\n")
    vocabulary = {token: i for i, token in enumerate(tokens) if token}
    peer = tokenizers.Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    peer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    peer.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    peer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return peer


def check_equal(binary, arguments, peer, texts):
    """ids and offsets of every text, as int32 [n, ids, begin0, end0, ...]."""
    import array

    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([binary, *arguments, "--rounds", "1", "--ids", file.name], check=True, capture_output=True)
        with open(file.name, "rb") as written:
            ours = array.array("i", written.read())
    at = 0
    for kind, list_of_texts in texts.items():
        for i, encoding in enumerate(peer.encode_batch(list_of_texts, add_special_tokens=False)):
            row = [len(encoding.ids), *encoding.ids]
            for begin, end in encoding.offsets:
                row += (begin, end)
            if ours[at : at + len(row)].tolist() != row:
                sys.exit(f"{kind} {i}: ids or offsets differ")
            at += len(row)
    if at != len(ours):
        sys.exit(f"{len(ours) - at} numbers too many from {binary}")


def time_peer(peer, list_of_texts):
    start = time.perf_counter()
    peer.encode_batch(list_of_texts, add_special_tokens=False)
    return time.perf_counter() - start


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/bin/tokenizer_benchmark")
    parser.add_argument("--vocab", default="data/bert-base-uncased-vocab.txt")
    parser.add_argument("--data", default="data/squad-v1.1-dev.json.gz")
    parser.add_argument("--cased", action="store_true", help="keep case")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--require", type=float, help="fail when the ratio on contexts is below this")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()

    texts = read_texts(options.data)
    peer = make_peer(options.vocab, not options.cased)
    arguments = ["--vocab", options.vocab, "--data", options.data, "--lower", "0" if options.cased else "1"]
    check_equal(options.binary, arguments, peer, texts)
    ours = {kind: [] for kind in texts}
    theirs = {kind: [] for kind in texts}
    for _ in range(options.rounds):
        run = subprocess.run(
            [options.binary, *arguments, "--rounds", "9", "--threads", "1"], check=True, capture_output=True, text=True
        )
        result = json.loads(run.stdout)
        for kind, list_of_texts in texts.items():
            ours[kind].append(result[kind]["threads"]["1"]["median_seconds"])
            theirs[kind].append(time_peer(peer, list_of_texts))
    figures = {
        "peer": f"tokenizers {tokenizers.__version__}",
        "cpu": cpu_name(),
        "date": time.strftime("%Y-%m-%d"),
        "vocabulary": os.path.basename(options.vocab),
        "data": os.path.basename(options.data),
        "ids_and_offsets": "equal",
    }
    print(f"{figures['peer']}, one thread, {figures['data']}, {figures['vocabulary']}: ids and offsets equal")
    print(f"{'texts':10} {'MB':>7} {'ours MB/s':>10} {'peer MB/s':>10} {'ratio':>7}")
    for kind, list_of_texts in texts.items():
        megabytes = sum(len(text.encode()) for text in list_of_texts) / 1e6
        mine, other = statistics.median(ours[kind]), statistics.median(theirs[kind])
        figures[kind] = {
            "megabytes": megabytes,
            "ours_mb_per_s": megabytes / mine,
            "peer_mb_per_s": megabytes / other,
            "ratio": other / mine,
        }
        print(f"{kind:10} {megabytes:7.2f} {megabytes / mine:10.1f} {megabytes / other:10.2f} {other / mine:6.1f}x")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)
            file.write("\n")
    if options.require and figures["contexts"]["ratio"] < options.require:
        sys.exit(f"contexts: ratio {figures['contexts']['ratio']:.1f} is below {options.require}")


if __name__ == "__main__":
    main()
