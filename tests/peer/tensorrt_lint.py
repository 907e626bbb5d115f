"""The lint's verdict on each product of a file beside what TensorRT and ONNX Runtime do with it.

usage: tensorrt_lint.py DIRECTORY...   (CASE/case.json with the verdict, and CASE/model.onnx or the path of a file, by
                                        tensorrt_files_test)
"""
import json
import pathlib
import sys
import tempfile

import onnx
import onnxruntime
from common import Report
from tensorrt_builder import SIZES, ask, trt

INTEGER = {"MatMulIntegerToFloat", "QLinearMatMul", "QGemm"}
UNSIGNED = "supports QuantizeLinear/DequantizeLinear with UINT8 zero_point only on DLA"

report = Report(f"lint beside TensorRT for RTX {trt.__version__} and ONNX Runtime {onnxruntime.__version__}")


def compare_with_tensorrt(where, verdict, answer):
    taken = answer.parsed and answer.built
    report.check(taken == (not verdict["tensorrt_refusals"]),
                 f"{where}: TensorRT {'takes' if taken else 'refuses'} it {(answer.parse_errors + answer.errors)[:1]}, "
                 f"the lint's refusals: {verdict['tensorrt_refusals']}")
    if not taken:
        return
    products = {product["name"] for product in verdict["products"]}
    found = {
        "gemm": {node for layer in answer.int8_products for node in layer.own_nodes},
        "batched": {node for layer in answer.int8_batched for node in layer.own_nodes},
        "attention": {node for layer in answer.attentions for node in layer.nodes} & products,
    }
    for kind, nodes in found.items():
        said = {product["name"] for product in verdict["products"] if product["tensorrt"] == kind}
        report.check(nodes == said, f"{where}: {kind}: in TensorRT but not in the lint {sorted(nodes - said)}, "
                                    f"in the lint but not in TensorRT {sorted(said - nodes)}")
    warned = any(UNSIGNED in line for line in answer.warnings)
    said = any("takes its unsigned codes as signed" in line for line in verdict["lines"])
    report.check(warned == said, f"{where}: TensorRT {'warns' if warned else 'does not warn'} of unsigned codes, the lint {'does' if said else 'does not'}")


def compare_with_onnxruntime(where, verdict, model):
    """Operators of the optimized graph. Names of nodes stay, in fused nodes too."""
    with tempfile.TemporaryDirectory() as directory:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(pathlib.Path(directory) / "optimized.onnx")
        error = None
        try:
            onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as refusal:
            error = refusal
        said = verdict["onnxruntime_refusals"]
        report.check((error is None) == (not said), f"{where}: ONNX Runtime says {error}, the lint's refusals: {said}")
        if error or said:
            return
        graph = onnx.load(options.optimized_model_filepath).graph
    integer = {node.name for node in graph.node if node.op_type in INTEGER}
    for product in verdict["products"]:
        is_integer = product["name"] in integer
        report.check(is_integer == (product["onnxruntime"] == "integer"),
                     f"{where}: ONNX Runtime computes {product['name']} {'on integers' if is_integer else 'in float'}, "
                     f"the lint says {product['onnxruntime']}")


for directory in map(pathlib.Path, sys.argv[1:]):
    for case in sorted(directory.iterdir()):
        about = json.loads((case / "case.json").read_text())
        model = about.get("file", case / "model.onnx")
        where = f"{directory.name}/{case.name}"
        sizes = dict(SIZES, seq_len=(1, 128, 256)) if "past" in case.name else SIZES
        if "positions" in about:
            sizes = dict(SIZES, seq_len=(1, about["positions"] // 2, about["positions"]))
        for capability in ("8.6", "12.0"):
            compare_with_tensorrt(f"{where} for {capability}", about["lint"], ask(model, capability, sizes))
        compare_with_onnxruntime(where, about["lint"], model)
        print(where, flush=True)
report.finish()
