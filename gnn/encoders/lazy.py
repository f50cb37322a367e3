"""A text encoder that is loaded when the first words come, for whoever may not need it at all."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from gnn.encoders.base import EncoderSpec, TextEncoder, check_same_encoder
from gnn.encoders.registry import text_encoder
from graph_store.arrays import Float32Array
from graph_store.errors import ImsageError


class LazyTextEncoder:
    """The text encoder that `spec` records, on that device. Any thread may call."""

    def __init__(self, spec: EncoderSpec, *, device: str = "auto") -> None:
        self._spec = spec
        self._device = device
        self._encoder: TextEncoder | None = None
        self._refusal: ImsageError | None = None
        self._loading = threading.Lock()

    @property
    def spec(self) -> EncoderSpec:
        """What was recorded."""
        return self._spec

    def encode_text(self, texts: Sequence[str]) -> Float32Array:
        """n texts → [n, dim] float32, unit norm. Raises EncoderMismatch when the encoder that is installed is
        another, and what loading it raises; it is tried once.
        """
        with self._loading:
            if self._refusal is not None:
                raise self._refusal
            if self._encoder is None:
                try:
                    encoder = text_encoder(self._spec.name, device=self._device)
                    check_same_encoder(self._spec, encoder.spec)
                except ImsageError as error:
                    self._refusal = error
                    raise
                self._encoder = encoder
        return self._encoder.encode_text(texts)
