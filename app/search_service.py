"""Search and tag prediction over the snapshot that is served now; it knows nothing of HTTP.

Work that takes microseconds is done where it is asked for, on the event loop: a hop to a thread would cost
more. What may take longer (decoding, encoding, text, a filter's first use, a slow search) goes to threads.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson
import structlog

from app.api.filter_schemas import Filter
from app.api.schemas import (
    BatchRequest,
    ImageRef,
    PredictRequest,
    SearchOptions,
    SearchRequest,
    WeightedImageRef,
)
from app.asked import check_cursor, cursor_of, is_large, query_of, question_of, row_filter_of
from app.catalogue_reader import CatalogueReader
from app.cursor import Cursor, Position
from app.explain import explain_edges, explain_hits
from app.hits import hits_of
from app.live.keeper import DeltaKeeper
from app.live.notice import ChangeNotice, notice_path
from app.picture_finder import PictureFinder
from app.query_words import QueryWords
from app.quickness import is_small, is_stored, needs_words
from app.ranking import Page, Ranking, rank
from app.replica.follower import follower_of
from app.replica.no_catalogue import NoCatalogue
from app.request_errors import (
    CursorGone,
    InvalidRequest,
    QueryOfBatch,
)
from app.serving_state import ServingState, ServingStates
from app.settings import Settings
from app.threads import begin_all, in_thread
from gnn.encoders.registry import is_precomputed
from gnn.query import Query, QueryVectors
from graph_store.arrays import Int64Array
from graph_store.errors import ImsageError

T = TypeVar("T")

_SEARCHES_AT_ONCE = os.cpu_count() or 1
_READ_AT_ONCE = 8
_MANY_HITS = 200
"""To write so many down takes about as long as a search."""


class SearchService:
    """Answers questions. `observe` is given the seconds of each stage of each answer; `on_change` is called
    when what is served has changed, or `problem`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        observe: Callable[[Mapping[str, float]], None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self.observe = observe
        self._words = QueryWords(
            size=settings.batch_size, wait=settings.batch_wait_ms / 1000, device=settings.device
        )
        self._follower = follower_of(settings, lambda: self.states.refused, on_change)
        self.catalogue = (NoCatalogue if settings.replica else CatalogueReader)(settings.data_dir)
        self._keeper = self._follower or DeltaKeeper(settings.data_dir, self.catalogue, on_change)
        self.states = ServingStates(
            settings.data_dir,
            self._words.encoder,
            on_change,
            self._keeper.revised,
            self._keeper.follows,
            settings.milvus,
            lambda: "" if self._follower is None else self._follower.awaited,
        )
        self.pictures = PictureFinder(settings, self.catalogue)
        self._threads = ThreadPoolExecutor(_SEARCHES_AT_ONCE, thread_name_prefix="search")
        # Apart from those of searches, which shall not wait behind a disk, a lock or a whole snapshot. One of
        # each: writes take turns anyway.
        self._writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="write")
        self._revising = ThreadPoolExecutor(max_workers=1, thread_name_prefix="revise")
        self._opening = ThreadPoolExecutor(max_workers=1, thread_name_prefix="open")
        # Originals may lie on a share that does not answer.
        self._reading = ThreadPoolExecutor(_READ_AT_ONCE, thread_name_prefix="read")
        self._watcher: asyncio.Task[None] | None = None
        self._notice = ChangeNotice(notice_path(settings.data_dir))
        # No number of a change: the first question looks.
        self._known_change = -1

    @property
    def problem(self) -> str:
        """Why answers are not what they should be: the newest snapshot or the catalogue cannot be read,
        or a replica cannot follow what is published. Empty when all is well.
        """
        return self.states.problem or self._keeper.problem

    # -- life

    async def start(self) -> None:
        """Open what CURRENT names, make its encoder ready, and begin to watch for newer snapshots."""
        await begin_all(self._threads, _SEARCHES_AT_ONCE)
        await in_thread(self._opening, self.states.refresh)
        self._watcher = asyncio.get_running_loop().create_task(self._watch())
        if self._follower is not None:
            self._follower.start()

    async def close(self) -> None:
        """Stop watching, close files, threads and connections, and let go of models and snapshots: whoever
        still holds the application then holds little.
        """
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            # Its traceback would hold the snapshot that it looked at.
            self._watcher = None
        if self._follower is not None:
            await asyncio.to_thread(self._follower.close)
        self._words.close()
        for threads in (self._threads, self._writing, self._revising, self._opening, self._reading):
            threads.shutdown(cancel_futures=True)
        # After the threads, one of which may just have loaded an encoder.
        await self.pictures.close()
        self.catalogue.close()
        self.states.close()
        self._notice.close()

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, done in a thread."""
        return await in_thread(self._threads, work)

    async def read(self, work: Callable[[], T]) -> T:
        """The result of `work`, which reads files of pictures."""
        return await in_thread(self._reading, work)

    async def write(self, work: Callable[[], T]) -> T:
        """The result of `work`, which changes the catalogue."""
        return await in_thread(self._writing, work)

    async def latest(self) -> ServingState:
        """The state to answer from: it knows every change that was answered before, whichever process of this
        machine made it. Raises NothingToServe.
        """
        await self.keep_up()
        return self.states.current

    async def keep_up(self) -> None:
        """Take in what was written to the catalogue, where something was announced."""
        if self._notice.number != self._known_change:
            await self.catch_up()

    async def catch_up(self) -> None:
        """Take in what was written to the catalogue, announced or not."""
        # Read first: what is written while the catalogue is read has a later number.
        number = self._notice.number
        await in_thread(self._revising, self.states.revise)
        self._known_change = number

    async def announce(self) -> None:
        """Take in a change of this process, then tell the other processes, all before it is answered."""
        await self.catch_up()
        self._notice.announce()

    async def _watch(self) -> None:
        await self._warm()
        while True:
            await asyncio.sleep(self._settings.snapshot_poll_seconds)
            try:
                if self.states.changed():
                    await in_thread(self._opening, self.states.refresh)
                    await self._warm()
                else:
                    await self.catch_up()
            except Exception:
                # Whatever went wrong this time: who stops watching would never serve anything new again.
                structlog.get_logger().exception("watch_failed")

    async def _warm(self) -> None:
        state = self.states.serving
        if state is None:
            return
        try:
            if not is_precomputed(state.encoder_spec.name):
                await in_thread(self._opening, lambda: self.pictures.encoding.load(state.encoder_spec))
        except ImsageError as error:
            # Searching by id goes on, and so does watching; a query with a new picture is told the reason.
            structlog.get_logger().error("image_encoder_unusable", reason=str(error))
        except Exception:
            structlog.get_logger().exception("image_encoder_failed")

    # -- search

    async def search(self, request: SearchRequest) -> bytes:
        """The JSON of one answer."""
        start = time.perf_counter()
        return await self._answer(request, request.image, None, start)

    async def search_upload(self, options: SearchOptions, picture: bytes) -> bytes:
        """The JSON of one answer to a question whose picture came beside it."""
        start = time.perf_counter()
        return await self._answer(options, None, picture, start)

    async def search_batch(self, batch: BatchRequest) -> bytes:
        """The JSON of all answers, from one snapshot. Raises QueryOfBatch for the first query that fails."""
        start = time.perf_counter()
        state = await self.latest()
        answers = await asyncio.gather(
            *(self._answer(query, query.image, None, start, state) for query in batch.queries),
            return_exceptions=True,
        )
        for number, answer in enumerate(answers):
            if isinstance(answer, ImsageError):
                raise QueryOfBatch(number, answer)
            if isinstance(answer, BaseException):
                raise answer
        parts = [orjson.Fragment(answer) for answer in answers if isinstance(answer, bytes)]
        return orjson.dumps({"results": parts})

    async def _answer(
        self,
        options: SearchOptions,
        image: ImageRef | Sequence[WeightedImageRef] | None,
        upload: bytes | None,
        start: float,
        state: ServingState | None = None,
    ) -> bytes:
        """`state`: what all questions of a batch are answered from; None for a question that comes alone."""
        stages: dict[str, float] = {}
        in_batch = state is not None
        if state is None:
            state = await self.latest()
        after = None
        question = ""
        if options.cursor is not None:
            question = await self._question(options, upload)
            cursor = cursor_of(options.cursor, question)
            if not in_batch:
                state = await self._pinned(cursor.version)
            elif cursor.version != state.version:
                await self._pinned(cursor.version)  # one whose snapshot is gone is told that
                raise InvalidRequest.at(
                    "/cursor",
                    f"it is pinned to the snapshot {cursor.version}, and this batch is answered from "
                    f"{state.version}; ask for that page by itself",
                )
            check_cursor(options.cursor, state.snapshot.secret)
            after = cursor.position
        pictures = await self.pictures.find_all(state, image, upload, stages)
        query = query_of(options, pictures)
        allowed = await self._allowed(state, options.filter)
        ranking = Ranking(
            visual_weight=options.visual_weight,
            limit=options.limit,
            allowed=allowed,
            exclude=[each.row for each in pictures if each.row is not None],
            score_threshold=options.score_threshold,
            diversity=options.diversity,
            collapse=options.collapse,
        )
        if needs_words(state, query):
            begin = time.perf_counter()
            vectors, encoding = await self._words.embed(state, query)
            stages["encode"] = stages.get("encode", 0.0) + encoding
            stages["attach"] = max(time.perf_counter() - begin - encoding, 0.0)
            page = await self._ranked(state, vectors, ranking, after, stages)
        else:
            vectors, page = await self._attached_and_ranked(state, query, ranking, after, stages)
        more = page.more
        next_cursor = None
        if more is not None:
            question = question or await self._question(options, upload)
            next_cursor = Cursor(state.version, question, more).encode(state.snapshot.secret)

        def told() -> dict[str, Any]:
            if not options.explain:
                return {"hits": hits_of(state, page, None)}
            why = explain_hits(state, vectors, options.visual_weight, page)
            return {"explain": explain_edges(state, vectors), "hits": hits_of(state, page, why)}

        much = options.explain or len(page.rows) > _MANY_HITS
        body = await self.run(told) if much else told()
        body["attach"] = vectors.attach
        body["index_version"] = state.version
        stages["total"] = time.perf_counter() - start
        body["took_ms"] = {stage: round(seconds * 1000, 3) for stage, seconds in stages.items()}
        body["next_cursor"] = next_cursor
        # Counted when the answer is on its way.
        asyncio.get_running_loop().call_soon(self.observe, stages)
        return orjson.dumps(body)

    async def _question(self, options: SearchOptions, upload: bytes | None) -> str:
        if is_large(options, upload):
            return await self.run(lambda: question_of(options, upload))
        return question_of(options, upload)

    async def _pinned(self, version: str) -> ServingState:
        current = self.states.current
        if current.version == version:
            return current
        pinned = await in_thread(self._opening, lambda: self.states.pinned(version))
        if pinned is None:
            raise CursorGone(
                f"The snapshot {version} that the cursor is pinned to is gone",
                hint="Ask again without the cursor.",
                errors=[("/cursor", "its snapshot is gone")],
            )
        return pinned

    async def _attached_and_ranked(
        self,
        state: ServingState,
        query: Query,
        ranking: Ranking,
        after: Position | None,
        stages: dict[str, float],
    ) -> tuple[QueryVectors, Page]:
        stored = is_stored(query) and is_small(ranking, after)

        def work() -> tuple[QueryVectors, Page]:
            cpu, begin = time.thread_time(), time.perf_counter()
            vectors = state.engine.embed(query)
            attached = time.perf_counter()
            page = rank(state.engine, vectors, ranking, after)
            done = time.perf_counter()
            stages["attach"] = attached - begin
            stages["search"] = done - attached
            if stored:
                state.pace.record(time.thread_time() - cpu)
            return vectors, page

        return work() if stored and state.is_quick else await self.run(work)

    async def _ranked(
        self,
        state: ServingState,
        vectors: QueryVectors,
        ranking: Ranking,
        after: Position | None,
        stages: dict[str, float],
    ) -> Page:
        def work() -> Page:
            begin = time.perf_counter()
            page = rank(state.engine, vectors, ranking, after)
            stages["search"] = time.perf_counter() - begin
            return page

        return work() if state.is_quick and is_small(ranking, after) else await self.run(work)

    async def _allowed(self, state: ServingState, asked: Filter | None) -> Int64Array | None:
        if asked is None or not (asked.must or asked.should or asked.must_not):
            return None
        name = asked.model_dump_json()
        rows = state.filters.known(name)
        if rows is not None:
            return rows
        return await self.run(lambda: state.filters.allowed(row_filter_of(asked), name))

    # -- tags

    async def complete(self, prefix: str, limit: int) -> list[tuple[str, int]]:
        """At most `limit` tags, with how many pictures carry them, of which a word begins with `prefix`."""
        state = await self.latest()
        # In a thread: what finds them is made anew after each write, in proportion to the vocabulary.
        return await self.run(lambda: state.completion.find(prefix, limit))

    async def predict(self, request: PredictRequest) -> bytes:
        """The JSON of the likeliest tags of a picture, the likeliest first, scores in [0, 1]."""
        start = time.perf_counter()
        stages: dict[str, float] = {}
        state = await self.latest()
        picture = await self.pictures.find(state, request.image, stages)
        engine, row, features = state.engine, picture.row, picture.features
        if row is not None:
            indexed = row
            tags = await self.run(
                lambda: engine.predict_tags_of(indexed, request.limit, missing=request.missing)
            )
        elif features is not None:
            known = features
            tags = await self.run(lambda: engine.predict_tags(known, request.limit)[0])
        else:
            raise InvalidRequest.at("/image", "there are no features of this picture")
        stages["total"] = time.perf_counter() - start
        self.observe(stages)
        return orjson.dumps(
            {
                "tags": [{"name": name, "score": round(float(score), 6)} for name, score in tags],
                "index_version": state.version,
                "took_ms": {stage: round(seconds * 1000, 3) for stage, seconds in stages.items()},
            }
        )
