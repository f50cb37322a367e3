"""Reading a picture file that somebody named."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from graph_store.errors import BadInput
from graph_store.exhaustion import exhausted


def read_picture(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file; one that grows meanwhile gives one byte more than `max_bytes` at most, which
    `decode` refuses.

    Raises BadInput when it is larger than that, cannot be read or is no file: a pipe or a device would be
    read for ever.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BadInput(f"{path} is not a file")
            if status.st_size > max_bytes:
                raise BadInput(f"the file has {status.st_size:,} bytes; at most {max_bytes:,} are allowed")
            return file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        lacking = exhausted(error)
        if lacking is not None:  # that says nothing about the picture, which must not be skipped for it
            raise lacking from error
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise BadInput(f"the file {path} cannot be read: {why}") from error
