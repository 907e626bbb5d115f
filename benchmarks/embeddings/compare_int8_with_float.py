#!/usr/bin/env python3
"""What INT8 does to sentence embeddings: an encoder is calibrated and exported twice, quantized and in float, and
`qdqbert predict --task embed` answers with both. Printed are the cosine of each question's two embeddings, and how well
each file finds a question's own paragraph among all paragraphs of the set (mean reciprocal rank).

    benchmarks/embeddings/compare_int8_with_float.py --build build --model ENCODER \\
        --data data/squad-v1.1-dev.json.gz --json build/benchmarks/embeddings.json

Exit code 1 when the mean cosine is below 0.99 or the rank differs by more than 1 %.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile

import numpy

LEAST_COSINE = 0.99
MOST_RANK_CHANGE = 0.01
# The residual sums of an encoder hold a few large columns, which leave little of one range for the others: they stay in
# float, and every matrix product is INT8.
CALIBRATION = ["--calibrator", "percentile", "--percentile", "99.999"]
CALIBRATION += ["--quant-disable-keyword", "add_residual", "add_local"]


def read_squad(path):
    """Paragraphs, and questions as (text, number of the paragraph)."""
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    paragraphs, questions = [], []
    for article in articles:
        for paragraph in article["paragraphs"]:
            questions += [(item["question"], len(paragraphs)) for item in paragraph["qas"]]
            paragraphs.append(paragraph["context"])
    return paragraphs, questions


def embed(command, model, texts, threads):
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts))
    words = [command, "predict", model, "--task", "embed", "--threads", str(threads)]
    answers = subprocess.run(words, input=lines, text=True, stdout=subprocess.PIPE, check=True).stdout
    rows = [json.loads(line) for line in answers.splitlines()]
    assert [row["id"] for row in rows] == list(range(len(texts)))
    return numpy.array([row["embedding"] for row in rows], dtype=numpy.float64)


def mean_reciprocal_rank(questions, paragraphs, own):
    """Paragraphs that are as near as the own one count as nearer, so that ties never help."""
    scores = questions @ paragraphs.T
    mine = scores[numpy.arange(len(own)), own]
    ranks = (scores >= mine[:, None]).sum(1)
    return float(numpy.mean(1.0 / ranks))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--model", required=True, help="directory of the encoder")
    parser.add_argument("--data", default="data/squad-v1.1-dev.json.gz")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--calibration", type=int, default=128, help="texts, of those that are not asked")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=CALIBRATION, help="of calibration, as embed takes them")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--json")
    options = parser.parse_args()
    command = os.path.join(options.build, "bin", "qdqbert")
    paragraphs, questions = read_squad(options.data)
    random.Random(options.seed).shuffle(questions)
    asked, others = questions[: options.questions], questions[options.questions :]
    with tempfile.TemporaryDirectory() as directory:
        texts = os.path.join(directory, "texts.txt")
        with open(texts, "w", encoding="utf-8") as file:
            # Half questions, half paragraphs of other questions: what the encoder will see.
            for text, paragraph in others[: options.calibration // 2]:
                file.write(text.replace("\n", " ") + "\n")
                file.write(paragraphs[paragraph].replace("\n", " ") + "\n")
        files = {}
        for name, flags in (("int8", ["--do_calib", *options.flags]), ("float", ["--quant-disable"])):
            files[name] = os.path.join(directory, name)
            words = [command, "embed", "--model_name_or_path", options.model, "--train_file", texts]
            words += ["--num_calib_samples", str(options.calibration), "--save_onnx", "--output_dir", files[name]]
            subprocess.run([*words, *flags], check=True, stdout=subprocess.DEVNULL)
        found = {
            name: (
                embed(command, file, [text for text, _ in asked], options.threads),
                embed(command, file, paragraphs, options.threads),
            )
            for name, file in files.items()
        }
    own = numpy.array([paragraph for _, paragraph in asked])
    cosines = (found["int8"][0] * found["float"][0]).sum(1)
    ranks = {name: mean_reciprocal_rank(*vectors, own) for name, vectors in found.items()}
    change = ranks["int8"] / ranks["float"] - 1
    result = {
        "questions": len(asked),
        "paragraphs": len(paragraphs),
        "mean_cosine": float(cosines.mean()),
        "least_cosine": float(cosines.min()),
        "mrr_float": ranks["float"],
        "mrr_int8": ranks["int8"],
        "mrr_change": change,
        "reached": bool(cosines.mean() >= LEAST_COSINE and abs(change) <= MOST_RANK_CHANGE),
    }
    print(f"{len(asked)} questions, {len(paragraphs)} paragraphs")
    print(f"cosine of INT8 and float: mean {result['mean_cosine']:.5f}, least {result['least_cosine']:.5f}")
    print(f"MRR of the own paragraph: float {ranks['float']:.4f}, INT8 {ranks['int8']:.4f} ({100 * change:+.2f} %)")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)
            file.write("\n")
    return 0 if result["reached"] else 1


if __name__ == "__main__":
    sys.exit(main())
