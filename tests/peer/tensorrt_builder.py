"""What TensorRT makes of an ONNX file: its parser's and its ahead-of-time builder's answer, without GPU or driver.

TensorRT for RTX is the only TensorRT that PyPI has in a form that builds without a GPU. It is proprietary and installed by
scripts/peer-environment. An engine is built and never run, so speed and values are nobody's claim here.
"""
import collections
import dataclasses
import os
import re

import tensorrt_rtx_bindings as trt

# The most that the fused attention takes; a profile with a larger maximum loses it for every length.
LONGEST = 512
# Of each named dimension of our files: least, typical and largest size.
SIZES = {"batch_size": (1, 1, 8), "num_choices": (2, 2, 4), "seq_len": (1, 128, LONGEST),
         "encoder_seq_len": (1, 128, LONGEST), "past_seq_len": (1, 128, LONGEST // 2)}
CAPABILITIES = ("8.6", "8.9", "12.0")


class _Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.by_severity = collections.defaultdict(list)

    def log(self, severity, text):
        self.by_severity[severity].append(text)


@dataclasses.dataclass
class Layer:
    """One layer of the engine."""
    name: str
    kind: str
    inputs: list  # element types
    constants: list
    outputs: list
    nodes: list  # ONNX nodes that it computes, or whose products it reads

    @property
    def is_attention(self):
        return "_mha_" in self.name

    @property
    def is_int8_product(self):
        return self.kind == "gemm" and self.inputs == ["Int8"] and self.constants[:1] == ["Int8"]

    @property
    def is_int8_batched(self):
        return self.kind == "gemm" and self.inputs == ["Int8", "Int8"]

    @property
    def own_nodes(self):
        """Of a product: the MatMul and Gemm nodes that stand in its name."""
        return self.name.rsplit("_myl", 1)[0].split("+")


@dataclasses.dataclass
class Answer:
    parsed: bool = False
    built: bool = False
    parse_errors: list = dataclasses.field(default_factory=list)
    errors: list = dataclasses.field(default_factory=list)
    warnings: list = dataclasses.field(default_factory=list)
    long_integers: list = dataclasses.field(default_factory=list)  # names of INT64 inputs
    layers: list = dataclasses.field(default_factory=list)

    @property
    def attentions(self):
        return [layer for layer in self.layers if layer.is_attention]

    @property
    def int8_products(self):
        return [layer for layer in self.layers if layer.is_int8_product]

    @property
    def int8_batched(self):
        return [layer for layer in self.layers if layer.is_int8_batched]

    @property
    def only_qdq(self):
        """Layers that do nothing but what Q and DQ nodes ask for."""
        return [layer for layer in self.layers if layer.nodes
                and all(node.endswith(("/QuantizeLinear", "/DequantizeLinear")) for node in layer.nodes)]

    @property
    def surprising_warnings(self):
        usual = [f"Make sure input {name} has Int64 binding." for name in self.long_integers]
        return [line for line in self.warnings if not line.endswith(tuple(usual))]


def _layers(log):
    def types(line, begin, end):
        return re.findall(r"Datatype: (\w+)", line.partition(begin)[2].partition(end)[0])

    layers = []
    for line in "\n".join(log.by_severity[trt.Logger.VERBOSE]).splitlines():
        if (head := re.match(r"Name: (.*?), LayerType: (\w+), Inputs: ", line)) and head[2] not in ("signal", "wait"):
            layers.append(Layer(head[1], head[2], types(line, "Inputs: [", "], Constants:"),
                                types(line, "Constants: [", "], Outputs:"), types(line, "Outputs: [", "], TacticName:"),
                                re.findall(r"\[ONNX Layer: ([^\]]+)\]", line)))
    return layers


def _size(dimension, sizes, at):
    """Of 7, "seq_len" or "past_seq_len + seq_len"."""
    if isinstance(dimension, int):
        return dimension
    return sum(sizes[part][at] for part in dimension.split(" + "))


def ask(path, capability, sizes=SIZES):
    """Parses `path` (strongly typed) and builds it for one compute capability, "8.6"."""
    log, answer = _Log(), Answer()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    answer.parsed = parser.parse_from_file(os.path.realpath(path))
    for at in range(parser.num_errors):
        error = parser.get_error(at)
        answer.parse_errors.append(f"{error.node_name()} ({error.node_operator()}): {error.desc()}")
    if answer.parsed:
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, "SM" + capability.replace(".", "")), 0)
        profile = builder.create_optimization_profile()
        for at in range(network.num_inputs):
            given = network.get_input(at)
            if given.dtype == trt.int64:
                answer.long_integers.append(given.name)
            names = [given.get_dimension_name(axis) if size < 0 else size for axis, size in enumerate(given.shape)]
            if any(isinstance(name, str) for name in names):
                profile.set_shape(given.name, *[[_size(name, sizes, each) for name in names] for each in range(3)])
        config.add_optimization_profile(profile)
        answer.built = builder.build_serialized_network(network, config) is not None
        answer.layers = _layers(log)
    answer.errors = log.by_severity[trt.Logger.ERROR] + log.by_severity[trt.Logger.INTERNAL_ERROR]
    answer.warnings = sorted(set(log.by_severity[trt.Logger.WARNING]))
    return answer


__all__ = ["ask", "trt", "CAPABILITIES", "LONGEST", "SIZES"]
