"""Who may run a job: the holder of a file lock, which the kernel frees when the holder ends in any way."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from graph_store.durable import refusing_unwritable


def take_slot(path: Path) -> int | None:
    """The open lock file, to be closed by who got it; None while somebody else has the slot.

    The lock belongs to the open file: a child process that inherits the descriptor holds it too, also when
    its parent has closed it. So there is no moment between the two in which nobody holds it. Raises
    Unwritable.
    """
    with refusing_unwritable(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
