"""What operators and their machines ask: what is served, is it alive, is it ready, how long does it take."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from app.api.answers import IndexAnswer, Liveness, Readiness
from app.api.metrics import Metrics
from app.api.problems import problem_responses
from app.search_service import SearchService

JSON = "application/json"
_METRICS_EXAMPLE = """\
# HELP imsage_index_images Images in the snapshot that is served.
# TYPE imsage_index_images gauge
imsage_index_images 4833.0
"""


def operation_routes(service: SearchService, metrics: Metrics) -> APIRouter:
    """The calls about the service itself."""
    router = APIRouter(tags=["operation"])

    @router.get(
        "/v1/index",
        summary="What is being served",
        response_model=IndexAnswer,
        responses=problem_responses(500, 503),
    )
    async def index() -> Response:
        """The snapshot, its model, encoders, counts and parameters."""
        state = await service.latest()
        manifest: dict[str, Any] = state.snapshot.manifest
        body = {
            "index_version": state.version,
            "created": manifest.get("created"),
            "counts": {
                **manifest.get("counts", {}),
                "images": state.engine.num_images,
                "tags": len(state.tag_counts),
            },
            "delta": state.delta_counts,
            "encoder": manifest.get("encoder") or {},
            "text_encoder": manifest.get("text_encoder"),
            "model": manifest.get("model") or {},
            "parameters": manifest.get("parameters") or {},
            "degraded": service.problem or None,
            "credits": await service.run(service.catalogue.credits),
        }
        return Response(orjson.dumps(body), media_type=JSON)

    @router.get("/livez", summary="Is the process alive?", response_model=Liveness)
    async def livez() -> Response:
        """Always 200 while the process answers at all."""
        return Response(b'{"status":"ok"}', media_type=JSON)

    @router.get(
        "/readyz",
        summary="Can questions be answered?",
        response_model=Readiness,
        response_model_exclude_none=True,
        responses=problem_responses(503),
    )
    async def readyz() -> Response:
        """200 with status degraded while the newest snapshot is damaged and an older one serves, while the
        catalogue cannot be read, or while a replica cannot follow what is published."""
        state = service.states.current
        body: dict[str, str] = {"status": "ok", "index_version": state.version}
        if service.problem:
            body |= {"status": "degraded", "detail": service.problem}
        return Response(orjson.dumps(body), media_type=JSON)

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _METRICS_EXAMPLE}}}
        },
    )
    async def prometheus() -> Response:
        """In the text format of Prometheus."""
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router
