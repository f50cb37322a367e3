"""The FastAPI application: routes, problems, what surrounds each request, and the web page."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from app.api import problems
from app.api.access import Access
from app.api.cors import Cors
from app.api.heads import Heads
from app.api.image_routes import image_routes
from app.api.job_routes import job_routes
from app.api.limits import Limits
from app.api.local_names import LocalNames
from app.api.metrics import Metrics
from app.api.middleware import Around
from app.api.openapi import DocumentedFastAPI
from app.api.operation_routes import operation_routes
from app.api.ranges import WholeFile, without_range
from app.api.read_only import ReadOnly
from app.api.search_routes import search_routes, tag_routes
from app.api.stopping import Stopping
from app.api.write_routes import write_routes
from app.jobs.index_age import IndexAgeReader
from app.jobs.measures import JobMeasures
from app.jobs.runner import JobRunner
from app.jobs.schedule import schedule_of
from app.jobs.watch import JobWatch
from app.key_ring import KeyRing
from app.keys import keys_path
from app.live.service import LiveCatalogue
from app.logs import configure_logs
from app.search_service import SearchService
from app.serve import end_without_a_start, note_that_it_serves
from app.settings import Settings, load_settings
from app.tidying import tidy_up_or_say
from app.variables import unread_variables
from graph_store.errors import ImsageError

WEB = Path(__file__).parent.parent / "web"
_SWITCH_SECONDS = 0.001
"""How long a thread that computes in Python may keep others waiting; Python's own is 0.005."""

CORS: dict[str, Any] = {
    "allow_methods": ["GET", "HEAD", "POST", "PATCH", "DELETE"],
    "allow_headers": [
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "If-None-Match",
        "If-Range",
        "Last-Event-ID",
        "Range",
        "X-Request-Id",
    ],
    "expose_headers": [
        "Allow",
        "Content-Range",
        "ETag",
        "Idempotent-Replayed",
        "Location",
        "Retry-After",
        "WWW-Authenticate",
        "X-Request-Id",
    ],
}
"""What pages of the allowed origins may send and see. Keys travel in a header, so no cookies."""

DESCRIPTION = """\
Image search with a dial: like this picture, and about these things, this much of each.

Every error is an RFC 9457 problem (`application/problem+json`); `errors` points at each wrong part of the
request. Whatever answers GET answers HEAD as well.
"""


def create_app(settings: Settings) -> FastAPI:
    """The service over one data directory. It starts also where there is nothing to serve yet."""
    metrics = Metrics()

    def on_change() -> None:
        serving = service.states.serving
        if serving is None:
            metrics.serving("", 0, 0, 0, degraded=True)
        else:
            metrics.serving(
                serving.version,
                serving.engine.num_images,
                len(serving.tag_counts),
                serving.delta_counts["images"],
                degraded=bool(service.problem),
            )

    service = SearchService(settings, observe=metrics.observe, on_change=on_change)

    runner = JobRunner(settings)
    metrics.include(JobMeasures(runner.store))
    watch = JobWatch(runner, schedule_of(settings), IndexAgeReader(settings.data_dir))
    stopping = Stopping()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(tidy_up_or_say, settings.data_dir)
        await service.start()
        await asyncio.to_thread(runner.start)
        watch.start()
        note_that_it_serves()
        try:
            with stopping.listening():
                yield
        finally:
            await asyncio.to_thread(watch.close)
            await asyncio.to_thread(runner.close)
            await service.close()

    app = DocumentedFastAPI(
        title="imsage",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        # The usual documentation pages load scripts from elsewhere, which the content-security policy rightly
        # stops.
        docs_url=None,
        redoc_url=None,
        # A redirect would name the scheme that the proxy in front speaks to us, not that of the page.
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.runner = runner
    # The last that is added is the outermost.
    app.add_middleware(Heads)
    app.add_middleware(
        Limits,
        seconds=settings.request_timeout,
        at_once=settings.max_concurrent,
        rate=settings.rate_limit,
    )
    if settings.replica:
        app.add_middleware(ReadOnly)
    ring = KeyRing(keys_path(settings.data_dir), required=settings.require_keys)
    names = LocalNames(settings.host, settings.cors_origins, only=settings.local_names_only)
    app.add_middleware(Access, ring=ring, names=names, origins=settings.cors_origins)
    if settings.cors_origins:
        app.add_middleware(Cors, allow_origins=settings.cors_origins, **CORS)
    app.add_middleware(Around, metrics=metrics, max_body_bytes=settings.max_body_bytes)
    problems.install(app)
    for router in (
        search_routes(service),
        tag_routes(service),
        image_routes(service),
        job_routes(runner, stopping),
        write_routes(LiveCatalogue(settings, service), service),
        operation_routes(service, metrics),
    ):
        # Their routes, not the routers: an included router matches every request twice.
        app.router.routes.extend(router.routes)
    _serve_page(app)
    return app


def app_from_environment() -> FastAPI:
    """What a server process runs: settings come from its environment (see `app.serve`). Where that cannot be
    done, one line in the log says why, and the process ends.
    """
    try:
        settings = load_settings()
        configure_logs(settings.log_level, settings.log_format)
        # A search changes threads a few times, and each time it may wait as long for the interpreter.
        sys.setswitchinterval(_SWITCH_SECONDS)
        app = create_app(settings)
    except ImsageError as error:
        structlog.get_logger().error("cannot_start", reason=str(error))
        end_without_a_start()
    unread = unread_variables(os.environ, Settings.model_fields)
    if unread:
        structlog.get_logger().warning("variables_not_read", variables=unread)
    return app


def _serve_page(app: FastAPI) -> None:
    def page(name: str) -> Response:
        return WholeFile(WEB / name, headers={"Cache-Control": "no-cache"})

    @app.get("/", include_in_schema=False)
    async def search_page(_: Request) -> Response:
        return page("index.html")

    @app.get("/jobs", include_in_schema=False)
    async def jobs_page(_: Request) -> Response:
        return page("jobs.html")

    app.mount("/static", PageFiles(directory=WEB), name="static")


class PageFiles(StaticFiles):
    """The page's files. Browsers ask each time whether a file has changed, as the page itself does: after an
    upgrade new parts must not meet old ones. They are small, so each is sent whole.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await super().__call__(without_range(scope), receive, send)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """As the base class has it, with the header."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
