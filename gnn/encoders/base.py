"""What every encoder offers and what is recorded about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from graph_store.arrays import AnyArray, Float32Array
from graph_store.errors import BadInput, EncoderMismatch

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class EncoderSpec:
    """Which encoder made a set of features: enough to know whether another set may be compared with it."""

    name: str
    weights_sha256: str
    dim: int
    preprocessing: str

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values, for catalogue and manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncoderSpec:
        """The inverse of `to_dict`. Raises BadInput when a field is missing or of another type."""
        try:
            return cls(
                name=str(values["name"]),
                weights_sha256=str(values["weights_sha256"]),
                dim=int(values["dim"]),
                preprocessing=str(values["preprocessing"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"An encoder is recorded without a valid {error}") from error

    @property
    def slug(self) -> str:
        """A file name for its features, different for different weights."""
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.name.partition("@")[0]).strip("-.")[:80]
        return f"{name}-{self.weights_sha256[:12]}" if self.weights_sha256 else name


class ImageEncoder(Protocol):
    """Turns pictures into vectors. All methods may be called from several threads."""

    @property
    def spec(self) -> EncoderSpec:
        """What is recorded with the features."""

    def preprocess(self, image: Image) -> AnyArray:
        """RGB picture → uint8 or float32 [3, h, w], the same shape for every picture."""

    def encode(self, batch: AnyArray) -> Float32Array:
        """[n, 3, h, w] as `preprocess` gives them, stacked → [n, dim] float32, unit norm."""


class TextEncoder(Protocol):
    """Turns tags and sentences into vectors. All methods may be called from several threads."""

    @property
    def spec(self) -> EncoderSpec:
        """What is recorded with the features."""

    def encode_text(self, texts: Sequence[str]) -> Float32Array:
        """n texts → [n, dim] float32, unit norm."""


def check_same_encoder(recorded: EncoderSpec, actual: EncoderSpec) -> None:
    """Raise EncoderMismatch, naming the first difference, when features of the two must not be compared.

    The weights decide, not what they are called: a checkpoint that was moved is still the same encoder. Only
    features that the user brings have no weights; there the name must agree.
    """
    fields = ["weights_sha256", "dim", "preprocessing"]
    if not recorded.weights_sha256:
        fields.insert(0, "name")
    for field in fields:
        old, new = getattr(recorded, field), getattr(actual, field)
        if old != new:
            raise EncoderMismatch(
                f"The features were made by encoder {recorded.name!r} with {field} {old!r}, "
                f"but this is {actual.name!r} with {field} {new!r}",
                hint="Use the recorded encoder, or ingest into a new data directory.",
            )


def unit_rows(vectors: AnyArray) -> Float32Array:
    """[n, dim] → the same directions as float32 of length 1; a row of zeros stays zero."""
    array = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    return np.asarray(array / np.maximum(norms, np.float32(1e-12)), dtype=np.float32)
