#!/usr/bin/env python3
"""Times building the training features of a SQuAD file beside the same work done with PyPI's `tokenizers` (the Hugging
Face fast tokenizer) and labels in Python, as the original example does it. First checks that input ids and labels of the
features made by both are equal. Prints a table; --json FILE holds the figures.

    pip install tokenizers
    benchmarks/squad_features/compare_with_tokenizers.py --binary build/bin/squad_features_benchmark \\
        --vocab data/bert-base-uncased-vocab.txt --data data/squad-v1.1-dev.json.gz
"""

import argparse
import array
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib


def read_examples(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    for article in articles:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                answer = qa["answers"][0] if qa["answers"] else None
                span = (answer["answer_start"], answer["answer_start"] + len(answer["text"])) if answer else None
                yield qa["question"], paragraph["context"], span


def make_peer(vocabulary_path, max_length, stride):
    import tokenizers
    from tokenizers import normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece

    with open(vocabulary_path, encoding="utf-8", newline="\n") as file:
        vocabulary = {token: i for i, token in enumerate(file.read().split("\n")) if token}
    peer = tokenizers.Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    peer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    peer.normalizer = normalizers.BertNormalizer(lowercase=True)
    peer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    peer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    peer.enable_truncation(max_length, stride=stride, strategy="only_second")
    peer.enable_padding(length=max_length, pad_id=vocabulary["[PAD]"])
    return peer, f"tokenizers {tokenizers.__version__}"


def label(encoding, span):
    if span is None:
        return 0, 0
    begin, end = span
    sequences, offsets = encoding.sequence_ids, encoding.offsets
    first = sequences.index(1)
    last = len(sequences) - 1
    while sequences[last] != 1:
        last -= 1
    if offsets[first][0] > begin or offsets[last][1] < end:
        return 0, 0
    while first < len(offsets) and offsets[first][0] <= begin:
        first += 1
    while offsets[last][1] >= end:
        last -= 1
    return first - 1, last + 1


def build_with_peer(peer, examples):
    rows = []
    for at in range(0, len(examples), 1000):
        batch = examples[at : at + 1000]
        encodings = peer.encode_batch([(question, context) for question, context, _ in batch])
        for (_, _, span), encoding in zip(batch, encodings):
            for window in (encoding, *encoding.overflowing):
                rows.append((window.ids, window.type_ids, window.attention_mask, *label(window, span)))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/bin/squad_features_benchmark")
    parser.add_argument("--vocab", default="data/bert-base-uncased-vocab.txt")
    parser.add_argument("--data", default="data/squad-v1.1-dev.json.gz")
    parser.add_argument("--max-length", type=int, default=384)
    parser.add_argument("--stride", type=int, default=128)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peer-questions", type=int, default=10000, help="questions given to the peer")
    parser.add_argument("--require", type=float, help="fail when the ratio is below this")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    # Read when the peer is first used.
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"

    with tempfile.NamedTemporaryFile() as file:
        run = subprocess.run(
            [options.binary, "--vocab", options.vocab, "--data", options.data, "--threads", str(options.threads)]
            + ["--max-length", str(options.max_length), "--stride", str(options.stride), "--crc", file.name],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        with open(file.name, "rb") as written:
            crcs = array.array("I", written.read())
    ours = json.loads(run.stdout)

    examples = list(read_examples(options.data))[: options.peer_questions]
    peer, name = make_peer(options.vocab, options.max_length, options.stride)
    start = time.perf_counter()
    rows = build_with_peer(peer, examples)
    peer_rate = len(rows) / (time.perf_counter() - start)
    for i, (ids, _, _, begin, end) in enumerate(rows):
        if zlib.crc32(array.array("i", [*ids, begin, end]).tobytes()) != crcs[i]:
            sys.exit(f"feature {i}: ids or labels differ")

    ratio = ours["features_per_second_with_rows"] / peer_rate
    figures = {"peer": name, "peer_features_per_second": peer_rate, "ratio": ratio, "ours": ours}
    print(f"{name}, {options.threads} threads, {os.path.basename(options.data)}: {len(rows)} features equal")
    print(f"ours  {ours['features']} features in {ours['build_seconds']:.3f} s, all rows in {ours['rows_seconds']:.3f} s")
    print(f"      {ours['features_per_second_with_rows']:.0f} features/s with rows, peak memory {ours['peak_mb']:.0f} MB")
    print(f"peer  {peer_rate:.0f} features/s; ratio {ratio:.1f}x")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)
            file.write("\n")
    if options.require and ratio < options.require:
        sys.exit(f"ratio {ratio:.1f} is below {options.require}")


if __name__ == "__main__":
    main()
