"""A text encoder that remembers what it has read: the same words are asked for again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from gnn.encoders.base import EncoderSpec, TextEncoder
from graph_store.arrays import Float32Array

_MOST_TEXTS = 8192
"""About 13 MB of vectors with the default encoder."""


class RememberingTextEncoder:
    """What `encoder` gives, which is asked for at most `at_once` texts in one call, and not again for those
    of the last `most`. Any thread may call.

    A vector may come from a call with other texts than it would today. Encoders give the same for a text
    alone and among others, to about 1e-7, so that does not matter.
    """

    def __init__(self, encoder: TextEncoder, *, at_once: int, most: int = _MOST_TEXTS) -> None:
        self._encoder = encoder
        self._at_once = at_once
        self._most = most
        self._kept: OrderedDict[str, Float32Array] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def spec(self) -> EncoderSpec:
        """That of the encoder."""
        return self._encoder.spec

    def encode_text(self, texts: Sequence[str]) -> Float32Array:
        """n texts → [n, dim] float32, unit norm."""
        found = self._known(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        for start in range(0, len(missing), self._at_once):
            piece = missing[start : start + self._at_once]
            read = dict(zip(piece, self._encoder.encode_text(piece), strict=True))
            self._keep(read)
            found |= read
        vectors = np.empty((len(texts), self.spec.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = found[text]
        return vectors

    def read_ahead(self, texts: Sequence[str]) -> None:
        """Read texts together that will be asked for one by one; no more of them than are remembered."""
        self.encode_text(list(dict.fromkeys(texts))[: self._most])

    def _known(self, texts: Sequence[str]) -> dict[str, Float32Array]:
        found = {}
        with self._lock:
            for text in texts:
                if text in self._kept:
                    self._kept.move_to_end(text)
                    found[text] = self._kept[text]
        return found

    def _keep(self, read: dict[str, Float32Array]) -> None:
        with self._lock:
            # Copies: a row would hold on to the vectors of its whole piece.
            self._kept.update((text, vector.copy()) for text, vector in read.items())
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
