"""Measures how far the tensors of EfficientNet-lite0 reach, for `gnn.encoders.int8_graph.RANGES`.

    python -m benchmarks.int8_ranges FOLDER [--images 256]

FOLDER holds photos; `--images` of them, chosen by a fixed seed, go through the float32 network in batches of
16. A range is the mean over the batches of the 0.01st and the 99.99th percentile, widened by a tenth: the
whole span would spend most of the 256 steps on single values far out (cosine to float32 0.9917 where this has
0.9924).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from app.images import decode
from gnn.encoders.efficientnet import EfficientNetLite0
from gnn.encoders.int8_graph import simplified, unbounded
from graph_store.arrays import UInt8Array

BATCH = 16
TAIL = 0.01
WIDER = 1.1


def measured(graph: bytes, pixels: UInt8Array) -> list[tuple[str, float, float]]:
    """(operation, low, high) of each tensor that has no bound of its own. pixels: [n, 3, 224, 224]."""
    import onnx
    import onnxruntime

    model = simplified(graph)
    tensors = unbounded(model)
    names = [name for _, name in tensors]
    for name in names:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ends = []
    for start in range(0, len(pixels), BATCH):
        values = session.run(names, {"pixels": pixels[start : start + BATCH]})
        ends.append([np.percentile(one, (TAIL, 100 - TAIL)) for one in values])
    found = WIDER * np.mean(ends, axis=0)
    return [
        (operation, low, high) for (operation, _), (low, high) in zip(tensors, found.tolist(), strict=True)
    ]


def main() -> None:
    """Print the ranges as the module has them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=256)
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.iterdir() if path.is_file())
    chosen = np.random.default_rng(0).permutation(len(paths))[: options.images]
    encoder = EfficientNetLite0(device="cpu")
    pixels = np.stack([encoder.preprocess(decode(paths[i].read_bytes()).image) for i in chosen])
    for operation, low, high in measured(encoder.graph, pixels):
        print(f'    ("{operation}", {low:.2f}, {high:.2f}),')


if __name__ == "__main__":
    main()
