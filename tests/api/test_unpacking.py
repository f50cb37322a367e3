"""Room for pixels: what is unpacked at once is bounded, and nobody waits for ever."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

from app.unpacking import UnpackingRoom


def test_no_more_is_unpacked_at_once_than_there_is_room_and_all_get_their_turn() -> None:
    room = UnpackingRoom(100)
    guard = threading.Lock()
    inside: list[int] = []
    most = 0
    draw = random.Random(0)

    def unpack(pixels: int) -> None:
        nonlocal most
        with room.taking(pixels):
            with guard:
                inside.append(pixels)
                most = max(most, sum(inside))
            with guard:
                inside.remove(pixels)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(unpack, [draw.randrange(0, 101) for _ in range(2000)]))
    assert most <= 100


def test_what_is_larger_than_the_room_goes_in_alone() -> None:
    room = UnpackingRoom(10)
    alone = threading.Event()
    with room.taking(1000):

        def late() -> None:
            with room.taking(1):
                alone.set()

        thread = threading.Thread(target=late)
        thread.start()
        assert not alone.wait(0.05)
    assert alone.wait(30)
    thread.join()


def test_room_is_given_back_when_the_picture_is_broken() -> None:
    room = UnpackingRoom(10)
    for _ in range(5):
        try:
            with room.taking(10):
                raise ValueError
        except ValueError:
            pass
    with room.taking(10):
        pass
