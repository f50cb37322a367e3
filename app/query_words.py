"""Questions with words that are no tags: text encoders, loaded once, and batches of questions for them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from app.api.batching import Batcher
from app.serving_state import ServingState
from gnn.encoders.base import EncoderSpec, TextEncoder, check_same_encoder
from gnn.encoders.registry import text_encoder
from gnn.query import Query, QueryVectors
from graph_store.exhaustion import exhausted
from graph_store.snapshot import Snapshot


class QueryWords:
    """Embeds questions that need a text encoder, in a thread of its own, several at once where they come
    together: `size` at most, after `wait` seconds at the latest.
    """

    def __init__(self, *, size: int, wait: float) -> None:
        self._encoders: dict[EncoderSpec, TextEncoder] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="text")
        self._batches: Batcher[tuple[ServingState, Query], QueryVectors] = Batcher(
            _embed_batch, self._thread, size=size, wait=wait
        )

    def encoder(self, snapshot: Snapshot) -> TextEncoder | None:
        """The encoder that a snapshot's words were embedded with; None where there is none."""
        recorded = snapshot.manifest.get("text_encoder")
        if recorded is None:
            return None
        spec = EncoderSpec.from_dict(recorded)
        encoder = self._encoders.get(spec)
        if encoder is None:
            try:
                encoder = text_encoder(spec.name)
                check_same_encoder(spec, encoder.spec)
                encoder.encode_text((spec.name,))  # so that no question waits for the network to be loaded
            except Exception as error:
                lacking = exhausted(error)
                if lacking is not None:
                    raise lacking from error  # nothing is wrong with the encoder: the next try may load it
                # Pictures and known tags can still be searched by; only unknown words are refused.
                structlog.get_logger().error("text_encoder_missing", encoder=spec.name, reason=str(error))
                return None
            self._encoders[spec] = encoder
        return encoder

    async def embed(self, state: ServingState, query: Query) -> QueryVectors:
        """The vectors of a question. Raises whatever the engine raises for it alone."""
        return await self._batches.submit((state, query))

    def close(self) -> None:
        """Stop the thread and let go of the encoders."""
        self._thread.shutdown(cancel_futures=True)
        self._encoders.clear()


def _embed_batch(batch: Sequence[tuple[ServingState, Query]]) -> list[QueryVectors]:
    # A batch may span the moment when a new snapshot came; each query keeps its own.
    vectors: dict[int, QueryVectors] = {}
    for state in {state for state, _ in batch}:
        mine = [number for number, (other, _) in enumerate(batch) if other is state]
        answers = state.engine.embed_many([batch[number][1] for number in mine])
        vectors.update(zip(mine, answers, strict=True))
    return [vectors[number] for number in range(len(batch))]
