"""Quantizes a float model in the ways that ONNX Runtime's tools offer, for several opsets: quantize_variants.py DIR."""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnxruntime.quantization import (CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic,
                                      quantize_static)

OPSETS = (13, 17, 19, 21)
STATIC = {
    "qdq_u8s8": (QuantFormat.QDQ, QuantType.QUInt8, True),
    "qdq_s8s8": (QuantFormat.QDQ, QuantType.QInt8, False),
    "qoperator": (QuantFormat.QOperator, QuantType.QUInt8, False),
}


class Batches(CalibrationDataReader):
    def __init__(self):
        row = {"input_ids": [[1, 2, 3, 4]], "attention_mask": [[1, 1, 1, 0]], "token_type_ids": [[0, 0, 1, 1]]}
        self.batches = iter([{name: np.array(value, np.int64) for name, value in row.items()}])

    def get_next(self):
        return next(self.batches, None)


def half_scales():
    """Opset 19 lets scales be FP16."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT16, ["b", 4]) for name in "xy")
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    constants = [numpy_helper.from_array(np.array(0.5, np.float16), "s"), numpy_helper.from_array(np.array(0, np.int8), "z")]
    graph = helper.make_graph(nodes, "pair", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def main():
    directory = pathlib.Path(sys.argv[1])
    for opset in OPSETS:
        model = version_converter.convert_version(onnx.load(directory / "float.onnx"), opset)
        model.ir_version = 9
        source = str(directory / f"float_{opset}.onnx")
        onnx.save(model, source)
        for name, (form, activations, per_channel) in STATIC.items():
            quantize_static(source, str(directory / f"{name}_{opset}.onnx"), Batches(), quant_format=form,
                            activation_type=activations, weight_type=QuantType.QInt8, per_channel=per_channel)
        quantize_dynamic(source, str(directory / f"dynamic_{opset}.onnx"))
    onnx.save(onnx.load(directory / "qdq_s8s8_17.onnx"), directory / "external.onnx", save_as_external_data=True,
              size_threshold=0, location="external.data")
    onnx.save(half_scales(), directory / "half_scales.onnx")


main()
