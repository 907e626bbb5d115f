"""Runs the golden models of every class in ONNX Runtime, optimizations off, against their recorded outputs: whole
texts, and texts that go on with the recorded keys and values of an earlier call.

usage: run_models.py DIRECTORY   (written by engine_golden_models_test: CASE-RUN/case.json, model.onnx and, of decoders,
                                  past.onnx)
"""
import json
import pathlib
import re
import sys

import onnx
from common import Report, calls_of, largest_difference, load_file, np, session

RECORDED = {"output_start_logits": "start_logits", "output_end_logits": "end_logits"}
UNUSED = {"labels", "start_positions", "end_positions", "next_sentence_label"}
PARTS = {"key": 0, "value": 1, "decoder.key": 0, "decoder.value": 1, "encoder.key": 2, "encoder.value": 3}


def recorded_name(output):
    """present.0.encoder.key is recorded as past_key_values.0.2."""
    if match := re.fullmatch(r"(?:present|past_key_values)\.(\d+)\.(.+)", output):
        return f"past_key_values.{match[1]}.{PARTS[match[2]]}"
    return RECORDED.get(output, output)


def feed_of(run, inputs, past):
    """What the graph reads: given, from the past, or what stands for an argument that is absent; else None."""
    names = {each.name for each in run.get_inputs()}
    # Positions that a file counts itself need no input.
    plain = {"position_ids"} if "position_ids" in inputs and is_plain(inputs["position_ids"], past) else set()
    handed = {"encoder_hidden_states"} if past else set()
    if set(inputs) - names - UNUSED - plain - handed or "input_ids" not in inputs:
        return None
    feed = {name: value for name, value in inputs.items() if name in names}
    feed.update({name: past[recorded_name(name)] for name in names if name.startswith("past_key_values.")})
    ids = inputs["input_ids"]
    before = next((value.shape[2] for name, value in feed.items() if re.search(r"\d\.(decoder\.)?key$", name)), 0)
    for name in names - set(feed):
        if name == "attention_mask":
            feed[name] = np.ones((*ids.shape[:-1], before + ids.shape[-1]), np.int64)
        elif name == "token_type_ids":
            feed[name] = np.zeros_like(ids)
        elif name == "encoder_attention_mask" and "encoder_hidden_states" in inputs:
            feed[name] = np.ones(inputs["encoder_hidden_states"].shape[:2], np.int64)
        else:
            return None
    ranks = {each.name: len(each.shape) for each in run.get_inputs()}
    types = {"tensor(int64)": np.int64, "tensor(float)": np.float32}
    expected = {each.name: types[each.type] for each in run.get_inputs()}
    fits = all(value.ndim == ranks[name] and value.dtype == expected[name] for name, value in feed.items())
    return feed if fits else None


def is_plain(positions, past):
    return not past and bool((positions == np.arange(positions.shape[-1])).all())


report = Report("golden models in ONNX Runtime")
continued = 0
for directory in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    about = json.loads((directory / "case.json").read_text())
    golden = pathlib.Path(about["directory"])
    tensors = load_file(golden / "io.safetensors")
    inputs = calls_of(tensors)
    runs = {}
    for kind in ("model", "past"):
        if (path := directory / f"{kind}.onnx").exists():
            onnx.checker.check_model(str(path), full_check=True)
            runs[kind] = session(path)
    worst = 0.0
    for index, call in enumerate(json.loads((golden / "case.json").read_text())["calls"]):
        given = inputs.get(f"call{index}", {})
        prefix = f"{about['run']}.call{index}."
        expected = {key[len(prefix):]: value for key, value in tensors.items() if key.startswith(prefix)}
        source = call["past_key_values_from_call"]
        past = None
        if source is not None:
            start = f"{about['run']}.call{source}."
            past = {key[len(start):]: value for key, value in tensors.items() if key.startswith(start)}
        run = runs.get("past" if past else "model")
        feed = feed_of(run, given, past) if run else None
        if feed is None:
            continue
        continued += past is not None
        mask = feed["attention_mask"][..., -feed["input_ids"].shape[-1]:]
        for output, result in zip([each.name for each in run.get_outputs()], run.run(None, feed)):
            wanted = expected.get(recorded_name(output))
            if wanted is None:
                continue
            where = f"{directory.name} call {index} {output}"
            report.check(result.shape == wanted.shape, f"{where}: shape {result.shape}, not {wanted.shape}")
            if result.shape != wanted.shape:
                continue
            # Padding is nobody's answer, and no case was drawn again for a tie in it.
            if result.shape[:2] == mask.shape:
                result, wanted = result[mask != 0], wanted[mask != 0]
            difference = largest_difference(result, wanted)
            worst = max(worst, difference)
            report.check(difference <= about["tolerance"], f"{where}: differs by {difference:g}")
    print(f"{directory.name}: largest difference {worst:.3g}")
report.check(continued > 0, "no call went on with the keys and values of another")
report.finish()
