"""Long work: start it, follow it, stop it, go on with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from app.api.bodies import json_body
from app.api.job_schemas import EXAMPLES, REQUESTS, JobAnswer, JobKind, JobsAnswer, JobsQuery
from app.api.problems import PROBLEM_TYPE, problem_responses
from app.jobs.events import events
from app.jobs.job import Job
from app.jobs.runner import JobRunner, Submitted

JSON = "application/json"
JobId = Annotated[str, Path(alias="id", description="The id of a job.", examples=["000012-5f0a9c3e"])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="1 to 255 printable ASCII characters without spaces. A request repeated with the same"
        " key gives the job that the first one made, instead of a second job; another request with that key"
        " is refused.",
    ),
]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=100, description="The id of the last event that was received."),
]

_RUNNING = "A job is running, or another process works on the data directory"
_ENDED = "The job has ended"
_NOT_RESUMABLE = "The job cannot be resumed, or another one is running"


def job_routes(runner: JobRunner, stopping: Callable[[], bool] = lambda: False) -> APIRouter:
    """The calls about jobs."""
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

    @router.post(
        "",
        summary="Start a job",
        status_code=202,
        response_model=JobAnswer,
        responses={
            **_accepted(),
            **_problems(409, 413, 415, 422, 500, 503, 507, conflict=("job-running", _RUNNING)),
        },
        openapi_extra=_describes_orders(),
    )
    async def start(request: Request, key: IdempotencyKey = None) -> Response:
        """Reindex or train in a process of its own, one job at a time. Location says where to follow it."""
        kind = (await json_body(request, JobKind)).kind
        order = (await json_body(request, REQUESTS[kind])).order()
        submitted = await asyncio.to_thread(runner.submit, order, key)
        assert submitted is not None  # only a schedule changes its mind
        return _started(submitted)

    @router.get(
        "",
        summary="Jobs, the newest first",
        response_model=JobsAnswer,
        responses=_problems(404, 422, 500),
    )
    async def jobs(query: Annotated[JobsQuery, Query()]) -> Response:
        """The history outlives the server; the newest 1000 jobs are kept."""
        found = await asyncio.to_thread(
            runner.store.page, query.limit + 1, query.cursor, query.kind, query.state
        )
        shown = found[: query.limit]
        more = shown[-1].id if len(found) > len(shown) else None
        return Response(
            orjson.dumps({"jobs": [job.to_dict() for job in shown], "next_cursor": more}), media_type=JSON
        )

    @router.get(
        "/{id}",
        summary="How far a job is",
        response_model=JobAnswer,
        responses=_problems(404, 422, 500),
    )
    async def job(job_id: JobId) -> Response:
        """Its state, progress and, when it has ended, how."""
        return _answer(await asyncio.to_thread(runner.store.get, job_id))

    @router.get(
        "/{id}/events",
        summary="Follow a job",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events named `job`; the data of each is the job.",
                "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EVENTS_EXAMPLE}},
            },
            204: {"description": "Last-Event-ID names the last event of a job that has ended"},
            **_problems(404, 422, 500),
        },
    )
    async def follow(job_id: JobId, last_event_id: LastEventId = None) -> Response:
        """The job as it is now, then each change, until it has ended. A client that connects again after the
        last event gets 204, which tells a browser's EventSource to stop.
        """
        first = await asyncio.to_thread(runner.store.get, job_id)
        if not first.active and last_event_id == str(first.revision):
            return Response(status_code=204)
        stream = events(first, lambda: asyncio.to_thread(runner.store.get, job_id), stopping)
        return StreamingResponse(
            stream,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    @router.post(
        "/{id}/cancel",
        summary="Stop a job",
        status_code=202,
        response_model=JobAnswer,
        responses=_problems(404, 409, 422, 500, 507, conflict=("job-ended", _ENDED)),
    )
    async def cancel(job_id: JobId) -> Response:
        """It stops within seconds and leaves nothing half-written; what was served goes on being served."""
        return _answer(await asyncio.to_thread(runner.cancel, job_id), 202)

    @router.post(
        "/{id}/resume",
        summary="Go on with a job",
        status_code=202,
        response_model=JobAnswer,
        responses={
            **_accepted(),
            **_problems(404, 409, 422, 500, 503, 507, conflict=("job-not-resumable", _NOT_RESUMABLE)),
        },
    )
    async def resume(job_id: JobId, key: IdempotencyKey = None) -> Response:
        """A new job with the parameters of one that failed, was interrupted or canceled. Training goes on
        from its last checkpoint.
        """
        return _started(await asyncio.to_thread(runner.resume, job_id, key))

    return router


def _started(submitted: Submitted) -> Response:
    response = _answer(submitted.job, 202)
    response.headers["Location"] = f"/v1/jobs/{submitted.job.id}"
    if submitted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _answer(job: Job, status: int = 200) -> Response:
    return Response(orjson.dumps(job.to_dict()), status_code=status, media_type=JSON)


def _accepted() -> dict[int | str, dict[str, Any]]:
    return {
        202: {
            "headers": {
                "Location": {
                    "description": "Where to follow the job.",
                    "schema": {"type": "string"},
                    "example": "/v1/jobs/000012-5f0a9c3e",
                },
                "Idempotent-Replayed": {
                    "description": "true when the Idempotency-Key was known and no new job was made.",
                    "schema": {"type": "string"},
                    "example": "true",
                },
            }
        }
    }


def _problems(*statuses: int, conflict: tuple[str, str] = ("", "")) -> dict[int | str, dict[str, Any]]:
    """As `problem_responses`, with what a conflict is here."""
    described = problem_responses(*statuses)
    for status, response in described.items():
        example = response["content"][PROBLEM_TYPE]["example"]
        if status == 409:
            code, text = conflict
            response["description"] = example["detail"] = text
            example |= {"type": f"urn:imsage:problem:{code}", "title": code.replace("-", " ").capitalize()}
        if status == 422:
            detail = "Input should be greater than or equal to 1"
            example["errors"] = [{"pointer": "/epochs", "detail": detail}]
    return described


def _describes_orders() -> dict[str, Any]:
    names = {kind: f"#/components/schemas/{model.__name__}" for kind, model in REQUESTS.items()}
    schema = {
        "oneOf": [{"$ref": name} for name in names.values()],
        "discriminator": {"propertyName": "kind", "mapping": names},
    }
    examples = {kind: {"value": example} for kind, example in EXAMPLES.items()}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema, "examples": examples}}}}


_EVENTS_EXAMPLE = (
    'id: 7\nevent: job\ndata: {"id": "000012-5f0a9c3e", "kind": "reindex", "state": "processing", …}\n\n'
    'id: 8\nevent: job\ndata: {"id": "000012-5f0a9c3e", "kind": "reindex", "state": "succeeded", …}\n\n'
)
