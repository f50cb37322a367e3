"""EfficientNet-lite0 in eight bits: the ONNX graph with quantized weights and activations.

    q = round(x / scale) + zero          x ≈ scale · (q - zero)

Weights [out, in, h, w] become int8 with one scale for each output channel; activations [n, c, h, w] become
uint8 with one scale for each tensor. Behind each ReLU6 the scale is known: 6 / 255. Pixels need none: x of
(x - 127) / 128 is the quantized number itself. What has no such bound, the narrow ends of the blocks and
their sums, was measured once (`RANGES`, by `python -m benchmarks.int8_ranges`), so the features are the same
wherever they are made, whatever was encoded before.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference (2018), in ONNX Runtime's static form.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from graph_store.errors import ImsageError

RANGES: tuple[tuple[str, float, float], ...] = (
    ("Conv", -33.25, 34.87),
    ("Conv", -43.98, 44.76),
    ("Conv", -34.27, 36.48),
    ("Add", -46.91, 45.74),
    ("Conv", -32.67, 35.99),
    ("Conv", -22.08, 18.56),
    ("Add", -36.19, 39.02),
    ("Conv", -28.78, 29.09),
    ("Conv", -16.56, 14.57),
    ("Add", -28.91, 29.41),
    ("Conv", -12.87, 11.97),
    ("Add", -29.58, 31.00),
    ("Conv", -29.61, 27.68),
    ("Conv", -17.18, 12.50),
    ("Add", -31.75, 28.94),
    ("Conv", -14.80, 11.47),
    ("Add", -35.89, 31.07),
    ("Conv", -25.71, 25.00),
    ("Conv", -12.11, 13.13),
    ("Add", -27.57, 26.74),
    ("Conv", -12.16, 13.52),
    ("Add", -30.87, 30.13),
    ("Conv", -12.69, 14.13),
    ("Add", -35.21, 35.09),
    ("Conv", -13.57, 13.49),
)
"""(operation, low, high) of each tensor without a bound of its own, in the order of the network."""

_RELU6 = (0.0, 6.0)
_PIXELS = (-127 / 128, 1.0)
_OPERATIONS = ["Conv", "Clip", "Add"]


def quantized(graph: bytes) -> bytes:
    """The exported network → the same in eight bits, float32 from its mean over the places on.

    Raises ImsageError when the network is not the one that `RANGES` was measured on.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = simplified(graph)
    free = unbounded(model)
    if [operation for operation, _ in free] != [operation for operation, _, _ in RANGES]:
        raise ImsageError(
            f"The exported EfficientNet-lite0 has {len(free)} tensors to be quantized by measure, in another "
            f"order than the {len(RANGES)} that were measured",
            hint="Use the encoder efficientnet_lite0, and report the versions of torch and onnxruntime.",
        )
    bounds = {name: (low, high) for (_, name), (_, low, high) in zip(free, RANGES, strict=True)}
    for clip in _activations(model):
        bounds[clip.input[0]] = bounds[clip.output[0]] = _RELU6
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    bounds[first.input[0]] = _PIXELS
    ranges = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in bounds.items()
    }
    inside = {node.name for node in model.graph.node if node.op_type in ("Conv", "Add")}
    inside |= {clip.name for clip in _activations(model)}
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=[node.name for node in model.graph.node if node.name not in inside],
        op_types_to_quantize=_OPERATIONS,
        extra_options={},
    )
    quantizer.quantize_model()
    result: bytes = _from_pixels(quantizer.model.model, first.input[0]).SerializeToString()
    return result


def simplified(graph: bytes) -> Any:
    """The graph with its constants folded and its paddings part of the convolutions, as an ONNX model."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "graph.onnx", Path(folder) / "simple.onnx"
        before.write_bytes(graph)
        quant_pre_process(before, after, skip_symbolic_shape=True)
        return onnx.load(after)


def unbounded(model: Any) -> list[tuple[str, str]]:
    """(operation, name) of each tensor between convolutions that no ReLU6 bounds, in the graph's order."""
    clipped = {clip.input[0] for clip in _activations(model)}
    return [
        (node.op_type, node.output[0])
        for node in model.graph.node
        if node.op_type == "Add" or (node.op_type == "Conv" and node.output[0] not in clipped)
    ]


def _activations(model: Any) -> list[Any]:
    """The nodes that are ReLU6 behind a convolution."""
    convolved = {node.output[0] for node in model.graph.node if node.op_type == "Conv"}
    return [node for node in model.graph.node if node.op_type == "Clip" and node.input[0] in convolved]


def _from_pixels(model: Any, floats: str) -> Any:
    """The quantized model with its first four operations taken out: they compute the pixel from the pixel.

    floats: the tensor (x - 127) / 128, which the quantizer turns into x again.
    """
    nodes = model.graph.node
    quantize = next(node for node in nodes if node.op_type == "QuantizeLinear" and node.input[0] == floats)
    for node in nodes:
        for place, name in enumerate(node.input):
            if name == quantize.output[0]:
                node.input[place] = model.graph.input[0].name
    gone = {quantize.output[0]}
    before = {name: node for node in nodes for name in node.output}
    wanted = floats
    while wanted in before:
        gone.add(wanted)
        wanted = before[wanted].input[0]
    kept = [node for node in nodes if node.output[0] not in gone]
    del nodes[:]
    nodes.extend(kept)
    # ONNX Runtime warns of every constant that nothing reads any more.
    read = {name for node in nodes for name in node.input}
    constants = [one for one in model.graph.initializer if one.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    return model
