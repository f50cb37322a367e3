"""Pictures of the catalogue, by id. An id may hold slashes, encoded as %2F or not."""

from __future__ import annotations

import re
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Path, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from app.api.answers import ImageAnswer, NeighborsAnswer
from app.api.problems import described_header, problem, problem_responses
from app.api.ranges import WholeFile, range_fits
from app.catalogue_reader import PictureFile
from app.search_service import SearchService
from graph_store.errors import NotFound
from graph_store.records import ImageRecord

ImageIdPath = Annotated[
    str, Path(alias="id", description="The id of a picture.", examples=["beach/0042.jpg"])
]

IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        description="The ETag of what the client has: where it still holds, 304 comes instead of it.",
        examples=['"t-8c0f"'],
    ),
]
Range = Annotated[
    str | None,
    Header(
        alias="Range",
        description="One range of bytes. Several at once, and what is no range, get the whole picture.",
        examples=["bytes=0-1023"],
    ),
]
IfRange = Annotated[
    str | None,
    Header(
        alias="If-Range",
        description="The ETag that the range is meant for: where it holds no more, the whole picture comes.",
        examples=['"t-8c0f"'],
    ),
]

_PROBLEMS = problem_responses(404, 422, 500, 503)
_PICTURE = {"schema": {"type": "string", "format": "binary"}}
# Whatever a picture file turns out to hold, a browser that opens it by itself shall run none of it.
_PICTURE_POLICY = "default-src 'none'; sandbox"

# An id can be given another picture at any time: a browser shows what it has, and asks if that still holds.
# By the ETag, which is made of the bytes, asking costs no picture.
_PICTURE_CACHE = "private, max-age=60, stale-while-revalidate=86400"

_PART_OR_CALL = re.compile(rb"/v1/images/(.+/(file|thumbnail|neighbors)|delete)$")


def image_routes(service: SearchService) -> APIRouter:
    """The calls about one picture."""
    router = APIRouter(prefix="/v1/images", tags=["images"])

    async def describe(image_id: str) -> Response:
        await service.keep_up()
        record = await service.run(lambda: service.catalogue.record(image_id))
        return image_answer(service, record)

    @router.get(
        "/{id:path}/file",
        summary="The picture itself",
        response_class=FileResponse,
        responses=_picture_responses("image/*", "application/octet-stream"),
    )
    async def file(
        request: Request,
        image_id: ImageIdPath,
        known: IfNoneMatch = None,
        span: Range = None,
        span_of: IfRange = None,
    ) -> Response:
        """The original, where it is still there. A range of its bytes is served."""
        if _belongs_to_id(request, b"/file"):
            return await describe(f"{image_id}/file")
        found = await service.read(lambda: service.catalogue.original(image_id))
        return _picture(request, found, known, _span(found, span, span_of))

    @router.get(
        "/{id:path}/thumbnail",
        summary="A small copy of the picture",
        response_class=FileResponse,
        responses=_picture_responses("image/webp"),
    )
    async def thumbnail(
        request: Request,
        image_id: ImageIdPath,
        known: IfNoneMatch = None,
        span: Range = None,
        span_of: IfRange = None,
    ) -> Response:
        """WebP, made at ingestion. A range of its bytes is served."""
        if _belongs_to_id(request, b"/thumbnail"):
            return await describe(f"{image_id}/thumbnail")
        found = await service.run(lambda: service.catalogue.thumbnail(image_id))
        return _picture(request, found, known, _span(found, span, span_of))

    @router.get(
        "/{id:path}/neighbors",
        summary="The picture's edges in the graph",
        response_model=NeighborsAnswer,
        responses=_PROBLEMS,
    )
    async def neighbors(request: Request, image_id: ImageIdPath) -> Response:
        """The pictures and tags that the graph joins it to. Only pictures of the index have edges."""
        if _belongs_to_id(request, b"/neighbors"):
            return await describe(f"{image_id}/neighbors")
        state = await service.latest()
        row = state.engine.row_of(image_id)
        if row is None:
            await service.run(lambda: service.catalogue.record(image_id))
            raise NotFound(f"The image {image_id!r} is in the catalogue, but not in the index")
        return Response(orjson.dumps(state.neighbours(row)), media_type="application/json")

    @router.get(
        "/{id:path}",
        summary="What the catalogue knows of a picture",
        response_model=ImageAnswer,
        responses=_PROBLEMS | problem_responses(405),
    )
    async def image(request: Request, image_id: ImageIdPath) -> Response:
        """Its tags and attributes, also where it is held out of the index."""
        refuse_parts(request)
        return await describe(image_id)

    return router


def image_answer(service: SearchService, record: ImageRecord) -> Response:
    """What the catalogue knows of a picture, and whether searches find it."""
    serving = service.states.serving
    body = {
        "id": record.id,
        "split": record.split,
        "indexed": serving is not None and serving.engine.row_of(record.id) is not None,
        "width": record.width,
        "height": record.height,
        "caption": record.caption,
        "tags": [{"name": tag.name, "weight": tag.weight} for tag in record.tags],
        "attributes": record.attributes,
    }
    return Response(orjson.dumps(body), media_type="application/json")


def refuse_parts(request: Request) -> None:
    """Nothing but GET works on a part of a picture, and nothing but POST on the call `delete`.

    An id that reads like one of them comes encoded (`a%2Ffile`, `%64elete`). Raises HTTPException, 405.
    """
    raw: bytes = request.scope.get("raw_path") or b""
    if _PART_OR_CALL.search(raw):
        raise HTTPException(405)


def _belongs_to_id(request: Request, ending: bytes) -> bool:
    """Whether the ending came with an encoded slash: then it is the end of an id, not the name of a part."""
    raw: bytes = request.scope.get("raw_path") or b""
    return bool(raw) and not raw.endswith(ending)


def _span(found: PictureFile, asked: str | None, meant_for: str | None) -> str:
    """The range that is asked for; empty where it was meant for another file than there is now."""
    return "" if asked is None or meant_for not in (None, found.etag) else asked


def _picture(request: Request, found: PictureFile, known: str | None, span: str) -> Response:
    headers = {
        "ETag": found.etag,
        "Cache-Control": _PICTURE_CACHE,
        "Content-Security-Policy": _PICTURE_POLICY,
    }
    # A proxy that packs answers makes an ETag a weak one; whether a copy still holds does not depend on that.
    tags = [tag.strip().removeprefix("W/") for tag in (known or "").split(",")]
    if found.etag in tags or "*" in tags:
        return Response(status_code=304, headers=headers)
    size = found.stat.st_size
    fits = range_fits(span, size)
    if fits is False:
        detail = f"The picture has {size} bytes, and none of them is in the range {span}"
        beyond = {"Content-Range": f"bytes */{size}"}
        return problem(request, "range-not-satisfiable", 416, detail, headers=beyond)
    kind = FileResponse if fits else WholeFile
    return kind(found.path, headers=headers, media_type=found.media_type, stat_result=found.stat)


def _picture_responses(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` of a call whose answer is a picture file."""
    content = dict.fromkeys(media_types, _PICTURE)
    kept = {
        "ETag": described_header("Names these bytes, for If-None-Match and If-Range.", '"t-8c0f"'),
        "Cache-Control": described_header("How long a cache may keep the picture.", _PICTURE_CACHE),
    }
    part = {"Content-Range": described_header("Which bytes these are, and of how many.", "bytes 0-1023/9041")}
    return {
        200: {"content": content, "headers": kept},
        206: {"description": "The range that was asked for", "content": content, "headers": kept | part},
        304: {"description": "If-None-Match names what is there", "headers": kept},
        **_PROBLEMS,
        **problem_responses(416),
    }
