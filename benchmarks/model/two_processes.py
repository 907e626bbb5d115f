#!/usr/bin/env python3
"""How much faster two training processes of one thread are than one: the command itself, QAT, FP32 and QAT with BF16
products, gradients exchanged after every batch; turn by turn, medians of samples a second. Each process has the batch that the single one has.

    benchmarks/model/two_processes.py --command build/bin/qdqbert --model models/minilm-l6-squad-qat
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def samples_per_second(options, processes, flags, directory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [options.command, "qa", "--model_name_or_path", options.model, "--train_file", options.data, "--do_train",
               "--max_steps", str(options.steps), "--per_device_train_batch_size", str(options.batch), "--threads", "1",
               "--max_seq_length", str(options.length), "--doc_stride", "64", "--pad_to_max_length", "--learning_rate", "1e-5",
               "--save_strategy", "no", "--report_to", "none", "--overwrite_output_dir", "--output_dir", directory, *flags]
    ranks = []
    for rank in range(processes):
        group = {"RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(processes),
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)} if processes > 1 else {}
        ranks.append(subprocess.Popen(command, env={**os.environ, **group}, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, text=True))
    errors = [rank.communicate()[1] for rank in ranks]
    for rank, error in zip(ranks, errors):
        if rank.returncode:
            raise SystemExit(error)
    return json.loads((pathlib.Path(directory) / "train_results.json").read_text())["train_samples_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", default=ROOT / "build/bin/qdqbert")
    parser.add_argument("--model", default=ROOT / "models/minilm-l6-squad-qat")
    parser.add_argument("--data", default=ROOT / "data/squad-v1.1-dev.json.gz", help="any SQuAD file")
    parser.add_argument("--batch", type=int, default=32, help="of each process")
    parser.add_argument("--length", type=int, default=176)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"| {options.batch} x {options.length} tokens a process | one, samples a second | two | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for name, flags in (("QAT", []), ("FP32", ["--quant-disable"]), ("QAT, BF16 products", ["--bf16"])):
        with tempfile.TemporaryDirectory() as directory:
            rounds = [[samples_per_second(options, processes, flags, directory) for processes in (1, 2)]
                      for _ in range(options.rounds)]
        one, two = (statistics.median(column) for column in zip(*rounds))
        ratio = statistics.median(pair[1] / pair[0] for pair in rounds)
        print(f"| {name} | {one:.1f} | {two:.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
