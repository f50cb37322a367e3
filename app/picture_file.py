"""Reading a picture file that somebody named."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from graph_store.errors import BadInput
from graph_store.exhaustion import exhausted


def read_picture(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file; of one with more than `max_bytes` one byte more than that, which `decode` refuses.

    Raises BadInput when it cannot be read or is no file: a pipe or a device would be read for ever.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BadInput(f"{path} is not a file")
            return file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        lacking = exhausted(error)
        if lacking is not None:  # that says nothing about the picture, which must not be skipped for it
            raise lacking from error
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise BadInput(f"the file {path} cannot be read: {why}") from error
