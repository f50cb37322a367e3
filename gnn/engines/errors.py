"""What goes wrong with an engine."""

from __future__ import annotations

from graph_store.errors import ImsageError


class EngineFailed(ImsageError):
    """The engine could not be reached, or a part of the work failed on it again and again."""

    code = "engine-failed"
    status = 503
