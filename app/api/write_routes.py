"""The calls that change the catalogue: searches know a change when its call is answered."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.answers import ImageAnswer
from app.api.bodies import describes_json, json_body
from app.api.image_routes import ImageIdPath, image_answer, refuse_parts
from app.api.problems import problem_of, problem_responses
from app.api.write_answers import DeleteAnswer, DeletedImage, UpsertAnswer
from app.api.write_schemas import DeleteRequest, DescribeRequest, UpsertRequest
from app.live.service import LiveCatalogue
from app.search_service import SearchService
from graph_store.errors import ImsageError, NotFound

JSON = "application/json"
_DELETE_PROBLEMS = (409, 500, 503, 507)
_BODY_PROBLEMS = (400, 413, 415, 422)


def write_routes(live: LiveCatalogue, service: SearchService) -> APIRouter:
    """The calls that store, change and remove pictures."""
    router = APIRouter(prefix="/v1/images", tags=["images"])

    @router.post(
        "",
        summary="Store pictures",
        response_model=UpsertAnswer,
        response_model_exclude_none=True,
        responses=problem_responses(*_BODY_PROBLEMS, *_DELETE_PROBLEMS),
        openapi_extra=describes_json(UpsertRequest),
    )
    async def upsert(request: Request) -> Response:
        """Each is new or replaces what was under its id. They are on the disk, and found by searches, when
        this is answered. `results` says for each what became of it: one bad picture does not hold up the
        others.
        """
        images = (await json_body(request, UpsertRequest)).images
        upserted = await live.upsert(images)
        results: list[dict[str, Any]] = []
        for image, outcome in zip(images, upserted.outcomes, strict=True):
            if isinstance(outcome, ImsageError):
                told = problem_of(outcome, request.url.path)
                results.append({"id": image.id, "status": "failed", "problem": told})
            else:
                results.append({"id": image.id, "status": outcome})
        counts = Counter(result["status"] for result in results)
        body = {
            "results": results,
            **{status: counts[status] for status in ("created", "replaced", "failed")},
            "index_version": upserted.version,
            "took_ms": {stage: round(seconds * 1000, 3) for stage, seconds in upserted.seconds.items()},
        }
        return Response(orjson.dumps(body), media_type=JSON)

    @router.post(
        "/delete",
        summary="Remove pictures",
        response_model=DeleteAnswer,
        responses=problem_responses(*_BODY_PROBLEMS, *_DELETE_PROBLEMS),
        openapi_extra=describes_json(DeleteRequest),
    )
    async def delete_several(request: Request) -> Response:
        """They are gone from the disk and from searches when this is answered."""
        ids = list(dict.fromkeys((await json_body(request, DeleteRequest)).ids))
        deleted = await live.delete(ids)
        results = [{"id": image_id, "status": _status(image_id in deleted)} for image_id in ids]
        counts = Counter(result["status"] for result in results)
        body = {"results": results, "deleted": counts["deleted"], "missing": counts["missing"]}
        return Response(orjson.dumps(body), media_type=JSON)

    @router.delete(
        "/{id:path}",
        summary="Remove a picture",
        response_model=DeletedImage,
        responses=problem_responses(404, 405, 422, *_DELETE_PROBLEMS),
    )
    async def delete(request: Request, image_id: ImageIdPath) -> Response:
        """It is gone from the disk and from searches when this is answered."""
        refuse_parts(request)
        if not await live.delete([image_id]):
            raise NotFound(f"There is no image with id {image_id!r}")
        return Response(orjson.dumps({"id": image_id, "status": _status(True)}), media_type=JSON)

    @router.patch(
        "/{id:path}",
        summary="Change a picture's tags and attributes",
        response_model=ImageAnswer,
        responses=problem_responses(404, 405, *_BODY_PROBLEMS, *_DELETE_PROBLEMS),
        openapi_extra=describes_json(DescribeRequest),
    )
    async def describe(request: Request, image_id: ImageIdPath) -> Response:
        """The picture itself stays, and need not be sent again."""
        refuse_parts(request)
        record = await live.describe(image_id, await json_body(request, DescribeRequest))
        return image_answer(service, record)

    return router


def _status(deleted: bool) -> str:
    return "deleted" if deleted else "missing"
