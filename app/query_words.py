"""Questions with words that are no tags: text encoders, loaded once, and batches of questions for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from app.api.batching import Batcher
from app.serving_state import ServingState
from gnn.encoders.base import EncoderSpec, TextEncoder, check_same_encoder
from gnn.encoders.registry import text_encoder
from gnn.encoders.remembering import RememberingTextEncoder
from gnn.query import Query, QueryEngine, QueryVectors
from gnn.words import readings
from graph_store.arrays import Float32Array
from graph_store.errors import BadInput, Exhausted, ImsageError
from graph_store.exhaustion import exhausted
from graph_store.snapshot import Snapshot


class QueryWords:
    """Embeds questions that need a text encoder, in a thread of its own, several at once where they come
    together: `size` at most, after `wait` seconds at the latest. Their words are read together too, `size`
    texts in one call of the encoder, which runs on `device`.
    """

    def __init__(self, *, size: int, wait: float, device: str = "auto") -> None:
        self._size = size
        self._device = device
        self._encoders: dict[EncoderSpec, RememberingTextEncoder] = {}
        # What was found under the name of the recorded encoder: that, or one with other weights.
        self._installed: dict[EncoderSpec, EncoderSpec] = {}
        self._clock = _Clock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="text")
        self._batches: Batcher[tuple[ServingState, Query], tuple[QueryVectors, float]] = Batcher(
            self._embed_batch, self._thread, size=size, wait=wait
        )

    def encoder(self, snapshot: Snapshot) -> RememberingTextEncoder | None:
        """The encoder that a snapshot's words were embedded with; None where it cannot be had."""
        recorded = snapshot.manifest.get("text_encoder")
        if recorded is None:
            return None
        spec = EncoderSpec.from_dict(recorded)
        encoder = self._encoders.get(spec)
        if encoder is None:
            try:
                loaded = text_encoder(spec.name, device=self._device)
                self._installed[spec] = loaded.spec
                encoder = RememberingTextEncoder(_Clocked(loaded, self._clock), at_once=self._size)
                check_same_encoder(spec, encoder.spec)
                encoder.encode_text((spec.name,))  # so that no question waits for the network to be loaded
            except Exhausted:
                raise  # nothing is wrong with the encoder: the next try may load it
            except Exception as error:
                lacking = None if isinstance(error, ImsageError) else exhausted(error)
                if lacking is not None:
                    raise lacking from error
                # Pictures and known tags can still be searched by; only unknown words are refused.
                structlog.get_logger().error("text_encoder_unusable", encoder=spec.name, reason=str(error))
                return None
            self._encoders[spec] = encoder
        return encoder

    async def embed(self, state: ServingState, query: Query) -> tuple[QueryVectors, float]:
        """The vectors of a question, and the seconds that its words took to be encoded, with those that were
        encoded together with them. Raises whatever the engine raises for it alone, and EncoderMismatch when
        it has words to be read and the encoder that is installed is another.
        """
        return await self._batches.submit((state, query))

    def close(self) -> None:
        """Stop the thread and let go of the encoders."""
        self._thread.shutdown(cancel_futures=True)
        self._encoders.clear()
        self._installed.clear()

    def _embed_batch(self, batch: Sequence[tuple[ServingState, Query]]) -> list[tuple[QueryVectors, float]]:
        # A batch may span the moment when a new snapshot came; each query keeps its own.
        vectors: dict[int, QueryVectors] = {}
        before = self._clock.seconds
        for state in {state for state, _ in batch}:
            mine = [number for number, (other, _) in enumerate(batch) if other is state]
            queries = [batch[number][1] for number in mine]
            self._read_ahead(state, queries)
            answers = state.engine.embed_many(queries)
            vectors.update(zip(mine, answers, strict=True))
        spent = self._clock.seconds - before
        return [(vectors[number], spent) for number in range(len(batch))]

    def _read_ahead(self, state: ServingState, queries: Sequence[Query]) -> None:
        """Let the encoder read at once what the engine will ask it for word by word. Raises EncoderMismatch
        when that is another than the snapshot's.
        """
        recorded = state.snapshot.manifest.get("text_encoder")
        if recorded is None:
            return
        spec = EncoderSpec.from_dict(recorded)
        texts = [text for query in queries for text in _to_read(state.engine, query)]
        if texts and spec in self._installed:
            check_same_encoder(spec, self._installed[spec])
        encoder = self._encoders.get(spec)
        if encoder is not None:
            encoder.read_ahead(texts)


def _to_read(engine: QueryEngine, query: Query) -> Iterator[str]:
    """The texts that stand for the words of a query that are no tags."""
    asked = [tag.name for tag in query.tags if tag.weight]
    for words in [*asked, query.text.strip()] if query.text else asked:
        with suppress(BadInput):  # the engine says what is wrong with it
            if engine.tag_number(words) is None:
                yield from readings(words)


class _Clock(threading.local):
    """Seconds of each thread by itself: uploads encode words too."""

    seconds = 0.0


class _Clocked:
    """A text encoder that adds up the seconds it takes."""

    def __init__(self, encoder: TextEncoder, clock: _Clock) -> None:
        self.spec = encoder.spec
        self._encoder = encoder
        self._clock = clock

    def encode_text(self, texts: Sequence[str]) -> Float32Array:
        """n texts → [n, dim] float32, unit norm."""
        begin = time.perf_counter()
        try:
            return self._encoder.encode_text(texts)
        finally:
            self._clock.seconds += time.perf_counter() - begin
