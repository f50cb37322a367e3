"""Where the features of an image come from: an encoder that looks at it, or a file that was brought along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from app.images import Decoded
from gnn.encoders.base import EncoderSpec, ImageEncoder
from gnn.encoders.precomputed import NAME as PRECOMPUTED
from gnn.encoders.precomputed import Precomputed
from gnn.encoders.registry import DEFAULT_IMAGE_ENCODER, image_encoder, is_precomputed
from graph_store.arrays import AnyArray, Float32Array
from graph_store.errors import BadInput


class PictureEncoding(Protocol):
    """What becomes of a picture, in whatever process: `input` in a thread, then `vectors` of a batch."""

    def input(self, decoded: Decoded | None, given: Float32Array | None) -> AnyArray:
        """What `vectors` takes for one image; all inputs have one shape. Raises BadInput."""

    def vectors(self, inputs: AnyArray) -> Float32Array:
        """The stacked inputs of n images → [n, dim] float32, unit norm."""


class FeatureMaker(PictureEncoding, Protocol):
    """The same, and what the process that stores has to know: it calls `given` first, for every item."""

    @property
    def spec(self) -> EncoderSpec:
        """What is recorded with the features."""

    def given(self, image_id: str) -> Float32Array | None:
        """The feature that was brought along, [dim]; None where one is computed. Raises BadInput."""


@dataclass(frozen=True)
class Encoded:
    """Features that an encoder computes from the pixels."""

    encoder: ImageEncoder

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's."""
        return self.encoder.spec

    def given(self, image_id: str) -> None:
        """Nothing is given."""

    def input(self, decoded: Decoded | None, given: Float32Array | None) -> AnyArray:
        """The preprocessed pixels."""
        if decoded is None:
            raise BadInput('there is no "image", and no features were brought along')
        return self.encoder.preprocess(decoded.image)

    def vectors(self, inputs: AnyArray) -> Float32Array:
        """The encoder's output."""
        return self.encoder.encode(inputs)


class AsGiven:
    """Features that were brought along; the pictures, where there are any, only give thumbnails."""

    def input(self, decoded: Decoded | None, given: Float32Array | None) -> AnyArray:
        """The feature itself."""
        assert given is not None
        return given

    def vectors(self, inputs: AnyArray) -> Float32Array:
        """The inputs, which are features already."""
        return np.asarray(inputs, dtype=np.float32)


@dataclass(frozen=True)
class Brought(AsGiven):
    """The same, with the file that they are in."""

    features: Precomputed

    @property
    def spec(self) -> EncoderSpec:
        """The name and dimension of the features."""
        return self.features.spec

    def given(self, image_id: str) -> Float32Array:
        """The row of that id."""
        return self.features.vector(image_id)


def feature_maker(encoder: str, features: Path | None, device: str) -> FeatureMaker:
    """The encoder of that name, or the features. Raises BadInput when they do not fit, UnknownName."""
    named = is_precomputed(encoder)
    if features is None:
        if named:
            raise BadInput("Precomputed features need a file", hint="Give --features FILE.npy.")
        return Encoded(image_encoder(encoder, device=device))
    if not named and encoder != DEFAULT_IMAGE_ENCODER:
        raise BadInput(f"Features are brought along, so the encoder {encoder!r} has nothing to do")
    return Brought(Precomputed.load(features, name=encoder if named else PRECOMPUTED))
