"""Every kind of file that we write, in TensorRT: parsed, built for each compute capability, everything fused.

usage: tensorrt_kinds.py DIRECTORY   (CASE/model.onnx and CASE/case.json, by tensorrt_files_test)
"""
import json
import pathlib
import sys
import time

from common import Report
from tensorrt_builder import CAPABILITIES, LONGEST, SIZES, ask, trt

report = Report(f"kinds of export in TensorRT for RTX {trt.__version__}")
for case in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    about = json.loads((case / "case.json").read_text())
    attentions, products, own_layers = about["attentions"], about["products"], about["own_layers"]
    sizes = dict(SIZES, seq_len=(1, 128, 256)) if "past" in case.name else SIZES
    capabilities = CAPABILITIES + (("7.5",) if about["opset"] == 19 else ())
    start = time.monotonic()
    for capability in capabilities:
        answer = ask(case / "model.onnx", capability, sizes)
        where = f"{case.name} for {capability}"
        report.check(answer.parsed and answer.parse_errors == [], f"{where}: parser: {answer.parse_errors}")
        report.check(answer.built and answer.errors == [], f"{where}: builder: {answer.errors}")
        report.check(answer.surprising_warnings == [], f"{where}: warnings {answer.surprising_warnings}")
        found = len(answer.attentions), len(answer.int8_products), sorted(sum((layer.nodes for layer in answer.only_qdq), []))
        report.check(found == (attentions, products, own_layers),
                     f"{where}: {found[0]} fused attentions, {found[1]} INT8 GEMMs, layers of Q and DQ alone {found[2]}; "
                     f"not {attentions}, {products} and {own_layers}")
        for layer in answer.attentions:
            report.check(set(layer.outputs) == {"Int8"}, f"{where}: {layer.name} writes {layer.outputs}")
    print(f"{case.name}: {attentions} fused attentions, {products} INT8 GEMMs, {time.monotonic() - start:.1f} s", flush=True)

# A profile that allows more than 512 tokens loses the fused attention, and 7.5 builds half precision alone.
longer = dict(SIZES, seq_len=(1, 128, 2 * LONGEST))
found = len(ask(pathlib.Path(sys.argv[1]) / "positions-1024" / "model.onnx", "8.6", longer).attentions)
report.check(found == 0, f"a profile of up to {2 * LONGEST} tokens has {found} fused attentions")
answer = ask(pathlib.Path(sys.argv[1]) / "opset-13" / "model.onnx", "7.5")
report.check(answer.parsed and not answer.built, "7.5 builds an FP32 file")
report.finish()
