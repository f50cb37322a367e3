"""Whether the server has been told to stop, for answers that would otherwise not end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """Called, it says whether a signal to stop has come.

    uvicorn waits for open answers before it tells the application that it stops, so a stream of events has to
    hear of the signal itself.
    """

    def __init__(self) -> None:
        self._told = False

    def __call__(self) -> bool:
        """Whether the server stops."""
        return self._told

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Notice signals, and pass each on to who was to have it.

        Without effect outside the main thread, which alone gets them.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}

        def on_signal(number: int, frame: FrameType | None) -> None:
            self._told = True
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)

        for number in _SIGNALS:
            signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
