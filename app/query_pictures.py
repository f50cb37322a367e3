"""Pictures of queries: from bytes to features, off the event loop and several at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np

from app.api.batching import Batcher
from app.images import Decoded, decode
from app.settings import Settings
from app.threads import in_thread
from app.unpacking import UnpackingRoom
from gnn.encoders.base import EncoderSpec, ImageEncoder, check_same_encoder
from gnn.encoders.registry import image_encoder, is_precomputed
from graph_store.arrays import AnyArray, Float32Array
from graph_store.errors import BadInput, EncoderMismatch, EncoderMissing, ImsageError
from graph_store.exhaustion import exhausted

T = TypeVar("T")

_AGAIN_AFTER_SECONDS = 10.0
"""An encoder that could not be loaded is not tried again before: that takes seconds, which each question
would wait for.
"""


class _Encoding:
    """One loaded encoder and the batches that it works on."""

    def __init__(self, encoder: ImageEncoder, executor: ThreadPoolExecutor, size: int, wait: float) -> None:
        self.encoder = encoder
        self.batcher: Batcher[AnyArray, Float32Array] = Batcher(self._run, executor, size=size, wait=wait)

    def _run(self, batch: Sequence[AnyArray]) -> Sequence[Float32Array]:
        return list(self.encoder.encode(np.stack(batch)))


class QueryPictures:
    """Decodes in a pool of threads and encodes in one thread of its own, which several requests share by the
    batch.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoders = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="decode")
        self._encoder_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")
        self._encodings: dict[EncoderSpec, _Encoding] = {}
        # What the last try raised, to be made anew, and when that was.
        self._failures: dict[EncoderSpec, tuple[Callable[[], ImsageError], float]] = {}
        # All threads together unpack no more than one picture may have.
        self._room = UnpackingRoom(settings.max_image_pixels)

    def close(self) -> None:
        """Stop the threads when they have done what they are doing, and let go of the encoders."""
        self._decoders.shutdown(cancel_futures=True)
        self._encoder_thread.shutdown(cancel_futures=True)
        self._encodings.clear()

    def load(self, spec: EncoderSpec) -> None:
        """Make the encoder ready (seconds, so off the event loop); known ones stay.

        Raises EncoderMissing, EncoderMismatch, Exhausted, or BadInput for features that no encoder of ours
        made.
        """
        if spec in self._encodings:
            return
        if is_precomputed(spec.name):
            raise BadInput(
                "This catalogue has features that were brought along, so a new picture cannot be encoded",
                hint="Name a picture of the catalogue by its id.",
            )
        if spec in self._failures:
            failure, when = self._failures[spec]
            if time.monotonic() - when < _AGAIN_AFTER_SECONDS:
                raise failure()
        try:
            encoder = self._loaded(spec)
        except (EncoderMismatch, EncoderMissing) as error:
            failure = partial(type(error), error.message, hint=error.hint)
            self._failures[spec] = failure, time.monotonic()
            raise
        self._failures.pop(spec, None)
        self._encodings[spec] = _Encoding(
            encoder, self._encoder_thread, self._settings.batch_size, self._settings.batch_wait_ms / 1000
        )

    def _loaded(self, spec: EncoderSpec) -> ImageEncoder:
        """Whatever is wrong here is not wrong with a client's picture."""
        try:
            encoder = image_encoder(spec.name, device=self._settings.device)
        except EncoderMissing:
            raise
        except Exception as error:  # of the device, the weights, the hub, and of packages that are not there
            lacking = exhausted(error)
            if lacking is not None:
                raise lacking from error
            raise EncoderMissing(
                f"The encoder {spec.name} cannot be loaded here: {_reason(error)}",
                hint="See to the setting device and the weights; what needs no new picture goes on.",
            ) from error
        check_same_encoder(spec, encoder.spec)
        return encoder

    async def features(self, data: bytes, spec: EncoderSpec, stages: dict[str, float]) -> Float32Array:
        """[1, dim] float32, unit norm, of the picture in `data`; adds the seconds of decode and encode to
        `stages`.

        Raises BadInput when the bytes are no usable picture, and what `load` raises.
        """
        features, _ = await self.features_and(data, spec, stages, lambda _: None)
        return features

    async def features_and(
        self, data: bytes, spec: EncoderSpec, stages: dict[str, float], also: Callable[[Decoded], T]
    ) -> tuple[Float32Array, T]:
        """The same, and what `also` makes of the decoded picture, in the thread that decodes it."""
        if spec not in self._encodings:
            await in_thread(self._encoder_thread, lambda: self.load(spec))
        encoding = self._encodings[spec]
        start = time.perf_counter()
        pixels, made = await in_thread(self._decoders, lambda: self._decode(data, encoding.encoder, also))
        decoded = time.perf_counter()
        features = await encoding.batcher.submit(pixels)
        stages["decode"] = decoded - start
        stages["encode"] = time.perf_counter() - decoded
        return np.asarray(features, dtype=np.float32)[np.newaxis], made

    def _decode(self, data: bytes, encoder: ImageEncoder, also: Callable[[Decoded], T]) -> tuple[AnyArray, T]:
        settings = self._settings
        decoded = decode(
            data,
            max_bytes=settings.max_image_bytes,
            max_pixels=settings.max_image_pixels,
            room=self._room,
        )
        return encoder.preprocess(decoded.image), also(decoded)


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, ImsageError) else f"{type(error).__name__}: {error}"
