"""The files that the comparison runs: random weights of the usual sizes in the forms that each engine likes best, made
once and kept."""

import os
import subprocess

SIZES = {
    "bert-base": {"layers": 12, "hidden": 768, "heads": 12, "intermediate": 3072},
    "bert-large": {"layers": 24, "hidden": 1024, "heads": 16, "intermediate": 4096},
    "minilm-l6": {"layers": 6, "hidden": 384, "heads": 12, "intermediate": 1536},
    "bert-base-classifier": {"layers": 12, "hidden": 768, "heads": 12, "intermediate": 3072, "labels": 77},
    "tiny": {"layers": 2, "hidden": 64, "heads": 2, "intermediate": 128},
}


def operations(size, batch, seq):
    """Multiply-adds times two of all matrix products of a batch."""
    s = SIZES[size]
    per_token = 2 * s["hidden"] * (4 * s["hidden"] + 2 * s["intermediate"])
    per_pair = 4 * s["hidden"]
    return s["layers"] * batch * seq * (per_token + per_pair * seq)


def columns(size, seq):
    """Values of each output for a text: a score a token, or one a label."""
    return SIZES[size].get("labels", seq)


class Models:
    def __init__(self, directory, make_model):
        self.directory = directory
        self.make_model = make_model
        os.makedirs(directory, exist_ok=True)

    def path(self, size, form):
        """form: qdq, int8-weights, float (our exporter); u8s8, dynamic (ONNX Runtime's quantization of float)."""
        path = os.path.join(self.directory, f"{size}-{form}.onnx")
        done = path + ".done"
        if os.path.exists(done):
            return path
        if form in ("u8s8", "dynamic"):
            self._quantize(self.path(size, "float"), path, form)
        else:
            sizes = [text for name, value in SIZES[size].items() for text in (f"--{name}", str(value))]
            subprocess.run([self.make_model, "--output", path, "--form", form, *sizes], check=True)
        with open(done, "w", encoding="utf-8"):
            pass
        return path

    @staticmethod
    def _quantize(source, path, form):
        import logging

        import numpy
        from onnxruntime import quantization

        logging.disable(logging.WARNING)
        large = os.path.exists(source + ".data")
        if form == "dynamic":
            quantization.quantize_dynamic(
                source, path, weight_type=quantization.QuantType.QInt8, use_external_data_format=large
            )
            return

        class Texts(quantization.CalibrationDataReader):
            def __init__(self):
                generator = numpy.random.default_rng(1)
                self.ids = [generator.integers(1000, 20000, (1, 128)) for _ in range(4)]

            def get_next(self):
                if not self.ids:
                    return None
                ids = self.ids.pop()
                return {
                    "input_ids": ids,
                    "attention_mask": numpy.ones_like(ids),
                    "token_type_ids": numpy.zeros_like(ids),
                }

        quantization.quantize_static(
            source,
            path,
            Texts(),
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            use_external_data_format=large,
        )
