"""Search and tags."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.answers import BatchAnswer, PredictAnswer, SearchAnswer, TagsAnswer
from app.api.bodies import asked_in_form, describes_json, describes_upload, json_body, upload_body
from app.api.problems import problem_responses
from app.api.schemas import MAX_LIMIT, BatchRequest, PredictRequest, SearchRequest
from app.search_service import SearchService

JSON = "application/json"
_SEARCH_PROBLEMS = problem_responses(400, 403, 404, 409, 410, 413, 415, 422, 500, 503)


class TagsQuery(BaseModel):
    """What was typed so far."""

    model_config = ConfigDict(extra="forbid")

    prefix: str = Field(
        "",
        max_length=300,
        description="The beginning of a tag or of one of its words, in any case.",
        examples=["do"],
    )
    limit: int = Field(20, ge=1, le=MAX_LIMIT, description="Most tags in the answer.", examples=[20])


class DirectRoute(APIRoute):
    """A route whose endpoint takes the request and returns the response: there is nothing to resolve."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself."""
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


def search_routes(service: SearchService) -> APIRouter:
    """The calls that answer questions."""
    router = APIRouter(prefix="/v1", tags=["search"], route_class=DirectRoute)

    @router.post(
        "/search",
        summary="Search by picture, tags and words",
        response_model=SearchAnswer,
        responses=_SEARCH_PROBLEMS,
        openapi_extra=describes_json(SearchRequest),
    )
    async def search(request: Request) -> Response:
        """Like this picture, about these things, this much of each."""
        return Response(await service.search(await json_body(request, SearchRequest)), media_type=JSON)

    @router.post(
        "/search/upload",
        summary="Search by a picture file",
        response_model=SearchAnswer,
        responses=_SEARCH_PROBLEMS,
        openapi_extra=describes_upload(),
    )
    async def search_upload(request: Request) -> Response:
        """The same question, its picture as a file beside it."""
        options, picture = await upload_body(request)
        with asked_in_form():
            return Response(await service.search_upload(options, picture), media_type=JSON)

    @router.post(
        "/search/batch",
        summary="Several searches at once",
        response_model=BatchAnswer,
        responses=_SEARCH_PROBLEMS,
        openapi_extra=describes_json(BatchRequest),
    )
    async def search_batch(request: Request) -> Response:
        """All questions are answered from one snapshot; when one cannot be answered, none is. A cursor that
        is pinned to another snapshot than the one that is served is refused here: ask for its page by itself.
        """
        return Response(await service.search_batch(await json_body(request, BatchRequest)), media_type=JSON)

    @router.post(
        "/tags/predict",
        summary="The likeliest tags of a picture",
        response_model=PredictAnswer,
        responses=problem_responses(400, 403, 404, 409, 413, 415, 422, 500, 503),
        openapi_extra=describes_json(PredictRequest),
    )
    async def predict_tags(request: Request) -> Response:
        """Scores are calibrated to [0, 1]."""
        return Response(await service.predict(await json_body(request, PredictRequest)), media_type=JSON)

    return router


def tag_routes(service: SearchService) -> APIRouter:
    """The calls about tags as such."""
    router = APIRouter(prefix="/v1", tags=["search"])

    @router.get(
        "/tags",
        summary="Complete a tag",
        response_model=TagsAnswer,
        responses=problem_responses(422, 503),
    )
    async def complete_tag(query: Annotated[TagsQuery, Query()]) -> Response:
        """Tags of which some word begins as was typed, with how many pictures carry them."""
        found = await service.complete(query.prefix, query.limit)
        return Response(
            orjson.dumps({"tags": [{"name": name, "count": count} for name, count in found]}), media_type=JSON
        )

    return router
