"""Structured logs: one line an event, JSON where a machine reads them, coloured words on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import orjson
import structlog

from app.keys import without_keys
from app.terminal_text import printable

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]


def configure_logs(level: Level, form: Format) -> None:
    """Send the logs of this process to standard error, those of libraries that use `logging` included."""
    number = getattr(logging, level.upper())
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared = _told_of_each()
    if console:
        renderer: list[Any] = [_printable_values, _console_renderer()]
        factory: Any = structlog.PrintLoggerFactory(sys.stderr)
    else:
        renderer = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ]
        factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    foreign: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if not console:
        foreign.append(structlog.processors.format_exc_info)
    final: list[Any] = (
        [_printable_values, _console_renderer()]
        if console
        else [structlog.processors.JSONRenderer(serializer=lambda event, **_: _to_json(event).decode())]
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*foreign, *final])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries speak up from warnings on; the server itself also says where it listens.
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger("uvicorn.error").setLevel(number)


def logs_of_a_command() -> None:
    """Send what a command logs to standard error, in words: standard output is for its answer."""
    structlog.configure(
        processors=[*_told_of_each(), _printable_values, _console_renderer()],
        # Asked for at each line, where standard error leads may change meanwhile.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _told_of_each() -> list[Any]:
    """What each line says beside the event."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _to_json(event: Any, **_: Any) -> bytes:
    return without_keys(orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS))


def _printable_values(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A path may hold line breaks and escape sequences: one event stays one line."""
    return {
        name: printable(value.rstrip("\n")) if isinstance(value, str) else value
        for name, value in event.items()
    }


def _console_renderer() -> Callable[[Any, str, MutableMapping[str, Any]], str]:
    # Its own way of showing a traceback prints the values of all local variables, request headers among them.
    render = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )

    def line(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
        return without_keys(render(logger, name, event).encode("utf-8", "replace")).decode()

    return line
