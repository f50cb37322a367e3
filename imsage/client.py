"""The client for ordinary code; :mod:`imsage.async_client` is the same for asyncio."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from imsage import calls, job_calls, write_calls
from imsage.answers import (
    Answer,
    CountedTag,
    File,
    Image,
    Index,
    Job,
    Jobs,
    Neighbors,
    Prediction,
    Readiness,
    Removed,
    Stored,
)
from imsage.connection import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    POLL_SECONDS,
    answer_of,
    headers_of,
    job_of,
    pause_or_raise,
    stream_timeout,
)
from imsage.errors import unreachable
from imsage.questions import Options, Picture, Question, Tags
from imsage.retrying import Retries
from imsage.write_calls import NewImage

T = TypeVar("T")


class Client:
    """A connection to one server. Every call raises ImsageError when it does not succeed.

    `api_key` is sent as a bearer token. `retries` is how often a call is made again that the server is too
    busy for (429 or 503), after the pause that the server names. A change that took the server too long (503
    as well) is not: it may have been made. Threads may share a client.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=address, headers=headers_of(api_key), timeout=timeout, transport=transport
        )
        self._retries = Retries(retries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def search(self, **question: Unpack[Question]) -> Answer:
        """Like this picture, about these things, this much of each: at least one of image, tags, text."""
        return self._send(calls.search(question))

    def pages(self, **question: Unpack[Question]) -> Iterator[Answer]:
        """The answer to `search`, and every further page of it, all from one snapshot."""
        answer = self.search(**question)
        yield answer
        while answer.next_cursor is not None:
            question["cursor"] = answer.next_cursor
            answer = self.search(**question)
            yield answer

    def upload(self, picture: bytes | PathLike[str], **options: Unpack[Options]) -> Answer:
        """`search` for a picture of yours, sent as a file: less to send than inside the JSON."""
        return self._send(calls.upload(picture, options))

    def batch(self, questions: Sequence[Question]) -> tuple[Answer, ...]:
        """Up to 64 questions, all answered from one snapshot; when one cannot be answered, none is."""
        return self._send(calls.batch(questions))

    def predict_tags(self, picture: Picture, limit: int = 10, *, missing: bool = False) -> Prediction:
        """The likeliest tags of a picture; with `missing` only those that an indexed one does not carry."""
        return self._send(calls.predict(picture, limit, missing))

    def complete_tags(self, prefix: str = "", limit: int = 20) -> tuple[CountedTag, ...]:
        """Tags of which some word begins like this, the most used first."""
        return self._send(calls.complete(prefix, limit))

    def image(self, image_id: str) -> Image:
        """What the catalogue knows of a picture."""
        return self._send(calls.image(image_id))

    def neighbors(self, image_id: str) -> Neighbors:
        """The edges of a picture in the graph."""
        return self._send(calls.neighbors(image_id))

    def thumbnail(self, image_id: str) -> File:
        """A small copy of a picture."""
        return self._send(calls.thumbnail(image_id))

    def file(self, image_id: str) -> File:
        """The original of a picture, where the server still has it."""
        return self._send(calls.file(image_id))

    def index(self) -> Index:
        """What is being served."""
        return self._send(calls.index())

    def ready(self) -> Readiness:
        """Whether questions can be answered; raises ImsageError (503) while they cannot."""
        return self._send(calls.ready())

    def upsert(self, images: Sequence[NewImage]) -> Stored:
        """Store pictures, found at once; each by itself, and what was there under its id is replaced."""
        return self._send(write_calls.upsert(images))

    def update(
        self, image_id: str, *, tags: Tags | None = None, attributes: Mapping[str, Any] | None = None
    ) -> Image:
        """Give a picture other tags (all of them, from now on) and merge `attributes` into its own; None
        removes one. The picture itself stays.
        """
        return self._send(write_calls.update(image_id, tags, attributes))

    def delete(self, ids: Sequence[str]) -> Removed:
        """Remove pictures, found no more at once."""
        return self._send(write_calls.delete(ids))

    def start_reindex(
        self, *, full: bool = False, preset: str | None = None, idempotency_key: str | None = None
    ) -> Job:
        """Embed the whole catalogue into a new snapshot and swap it in, as a job of the server.

        With an idempotency key, a text of yours, the call can be repeated without a second job. It is 1 to
        255 printable ASCII characters without spaces; anything else is a ValueError. Without one, a key is
        drawn for this call.
        """
        order = {"kind": "reindex", "full": full, "preset": preset}
        return self._send(job_calls.start(order, idempotency_key))

    def start_train(
        self,
        *,
        preset: str | None = None,
        epochs: int | None = None,
        seed: int | None = None,
        resume: bool = False,
        idempotency_key: str | None = None,
    ) -> Job:
        """Train a model on the catalogue's graph, as a job; it is served after a reindex."""
        order = {"kind": "train", "preset": preset, "epochs": epochs, "seed": seed, "resume": resume}
        return self._send(job_calls.start(order, idempotency_key))

    def jobs(
        self,
        limit: int = 20,
        *,
        kind: str | None = None,
        state: str | None = None,
        cursor: str | None = None,
    ) -> Jobs:
        """The jobs there were and are, the newest first."""
        return self._send(job_calls.listing(limit, kind, state, cursor))

    def job(self, job_id: str) -> Job:
        """How far a job is, and how it ended."""
        return self._send(job_calls.job(job_id))

    def cancel_job(self, job_id: str) -> Job:
        """Stop a job; it ends within seconds."""
        return self._send(job_calls.cancel(job_id))

    def resume_job(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """A new job that goes on with one that failed, was interrupted or canceled."""
        return self._send(job_calls.resume(job_id, idempotency_key))

    def follow_job(self, job_id: str) -> Iterator[Job]:
        """The job as it is now, then each change, until it has ended."""
        attempt = 0
        last: Job | None = None
        timeout = stream_timeout(self._http.timeout)
        while True:
            events = job_calls.JobEvents()
            try:
                with self._http.stream(
                    "GET", job_calls.job_path(job_id, "/events"), timeout=timeout
                ) as response:
                    if response.is_success:
                        for line in response.iter_lines():
                            job = job_of(events, line, response)
                            if job is None:
                                continue
                            attempt = 0
                            if job != last:  # a stream that is taken up again begins with the job as it is
                                last = job
                                yield job
                            if not job.active:
                                return
                        raise httpx.TransportError("the stream ended before the job did")
                    response.read()
                    pause = pause_or_raise(response, self._retries, attempt)
            except httpx.RequestError as error:
                pause = self._retries.pause_after(error, self._http.base_url, attempt)
            time.sleep(pause)
            attempt += 1

    def wait_for_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """The job when it has ended, in whichever way. Raises TimeoutError after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while (job := self.job(job_id)).active:
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"the {job.kind} {job.id} has not ended within {timeout} seconds")
            time.sleep(POLL_SECONDS)
        return job

    def _send(self, call: calls.Call[T]) -> T:
        attempt = 0
        while True:
            request = call.request(self._http)
            try:
                response = self._http.send(request)
            except httpx.RequestError as error:
                raise unreachable(error, request.url) from error
            if response.is_success:
                return answer_of(call, response)
            time.sleep(pause_or_raise(response, self._retries, attempt, call))
            attempt += 1
