"""The exported shipped model against our fake-quantized one, quantizer by quantizer.

Weights: the codes of each weight's Q node against those of our model's arithmetic for the same weight.
Activations: every Q node of the file is fed with the input that our model's quantizer saw, so that differences do not
add up from layer to layer. Beside it, a second Q node reads what the graph itself computes there from the forced
values before it; its codes are compared with those that our model's arithmetic gives for the recorded input.
Of each layer's codes at most 1e-4 may differ, each by one.

usage: forced_input.py DIRECTORY   (written by forced_input_test: weights.onnx, model.onnx, recorded.safetensors)
"""
import pathlib
import sys

import onnx
import onnxruntime
from common import Report, largest_difference, load_file, np

LARGEST_SHARE = 1e-4

report = Report("forced input")
root = pathlib.Path(sys.argv[1])
tensors = load_file(root / "recorded.safetensors")


def run_graph(model, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 2
    run = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in run.get_outputs()], run.run(None, feeds)))


def quantizer_of(node):
    return node.name.rsplit("/", 1)[0][1:].replace("/", ".")


def our_codes(x, amax):
    return np.clip(np.rint(x * (np.float32(127) / amax)), -128, 127).astype(np.int16)


class Layers:
    """Codes that differ, by layer."""

    def __init__(self, what):
        self.what, self.counts = what, {}

    def compare(self, name, ours, theirs):
        report.check(ours.shape == theirs.shape, f"{name}: shape {theirs.shape}, ours {ours.shape}")
        if ours.shape != theirs.shape:
            return
        difference = np.abs(ours - theirs.astype(np.int16))
        report.check(difference.max() <= 1, f"{name}: codes differ by {difference.max()}")
        layer = name.split(".")[3]
        differing, total = self.counts.get(layer, (0, 0))
        self.counts[layer] = (differing + int(np.count_nonzero(difference)), total + difference.size)

    def finish(self):
        report.check(bool(self.counts), f"{self.what}: nothing was compared")
        for layer, (differing, total) in self.counts.items():
            share = differing / total
            print(f"layer {layer}, {self.what}: {differing} of {total} codes differ ({share:.2e})")
            report.check(share <= LARGEST_SHARE, f"layer {layer}, {self.what}: {share:.2e} of the codes differ")


# Weights.
feeds = {name: tensors[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
model = onnx.load(root / "weights.onnx")
weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] in weights]
for node in nodes:
    model.graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.INT8, None))
results = run_graph(model, feeds)
layers = Layers("weights")
for node in nodes:
    name = quantizer_of(node)
    layers.compare(name, our_codes(weights[node.input[0]], tensors["amax." + name]), results[node.output[0]])
layers.finish()

# Activations.
model = onnx.load(root / "model.onnx")


def like(recorded, name):
    """Our model may keep heads together: [B, S, A * d] as the graph's [B, A, S, d], for keys [B, A, d, S]."""
    if "matmul_" not in name or "matmul_a" in name:
        return recorded
    if recorded.ndim == 3:
        batch, length, hidden = recorded.shape
        recorded = recorded.reshape(batch, length, HEADS, hidden // HEADS).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(recorded.transpose(0, 1, 3, 2) if "matmul_k" in name else recorded)
    return recorded


probabilities = next(value for name, value in tensors.items() if name.endswith("matmul_a_input_quantizer") and name.startswith("recorded."))
HEADS = probabilities.shape[1]

checks, new_nodes = [], []
for node in model.graph.node:
    new_nodes.append(node)
    if node.op_type != "QuantizeLinear" or node.input[0] in weights:
        continue
    name = quantizer_of(node)
    recorded = like(tensors["recorded." + name], name)
    forced, codes = f"forced.{name}", f"codes.{name}"
    twin = onnx.helper.make_node("QuantizeLinear", list(node.input), [codes], name=f"twin.{name}")
    new_nodes.append(twin)
    node.input[0] = forced
    model.graph.input.append(onnx.helper.make_tensor_value_info(forced, onnx.TensorProto.FLOAT, recorded.shape))
    model.graph.output.append(onnx.helper.make_tensor_value_info(codes, onnx.TensorProto.INT8, None))
    feeds[forced] = recorded
    checks.append((name, codes, recorded))
del model.graph.node[:]
model.graph.node.extend(new_nodes)

results = run_graph(model, feeds)
layers = Layers("activations")
for name, codes, recorded in checks:
    layers.compare(name, our_codes(recorded, tensors["amax." + name]), results[codes])
layers.finish()
report.check(len(checks) == 10 * len(layers.counts), f"{len(checks)} activation quantizers for {len(layers.counts)} layers")
for name in ("output_start_logits", "output_end_logits"):
    # The last layer's LayerNorm and a product of 384 terms separate these from the last forced value.
    difference = largest_difference(results[name], tensors[name])
    print(f"{name}: largest difference {difference:.3g}")
    report.check(difference <= 1e-4, f"{name}: differs by {difference:g}")
report.finish()
