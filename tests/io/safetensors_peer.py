"""Loads a safetensors file with the reference library, checks its values and saves it again.

usage: safetensors_peer.py INPUT OUTPUT
Every tensor of INPUT must hold 0, 1, 2, ... in its element type. OUTPUT gets all tensors but bfloat16, which numpy lacks
and which is checked by its bits only.
"""
import sys

try:
    import numpy
    import safetensors
    import safetensors.numpy
except ImportError as error:
    print(f"absent: {error.name}")
    sys.exit(77)

NUMPY = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
         "U8": "uint8", "BOOL": "bool"}

source, target = sys.argv[1:3]
with open(source, "rb") as file:
    entries = safetensors.deserialize(file.read())
arrays = {}
for name, entry in entries:
    counting = numpy.arange(int(numpy.prod(entry["shape"])))
    if entry["dtype"] == "BF16":
        expected = (counting.astype(numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16)
        assert bytes(entry["data"]) == expected.tobytes(), name
        continue
    dtype = numpy.dtype(NUMPY[entry["dtype"]])
    values = numpy.frombuffer(bytes(entry["data"]), dtype)
    assert numpy.array_equal(values, counting.astype(dtype)), name
    arrays[name] = values.reshape(entry["shape"])
safetensors.numpy.save_file(arrays, target, {"format": "pt"})
print(f"{len(entries)} tensors")
