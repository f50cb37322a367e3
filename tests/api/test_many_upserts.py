"""However many pictures one upsert names, and however slow their hosts are: what came in time is stored."""

from __future__ import annotations

import asyncio
import io
import os
import tracemalloc
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from app.api.write_schemas import NewImage
from app.images import decode
from app.live import new_pictures
from app.live.aside import Aside
from app.live.new_pictures import NewPicture, NewPictures
from app.picture_finder import PictureFinder
from app.request_errors import OutOfTime
from app.settings import Settings
from gnn.encoders.base import EncoderSpec
from graph_store.errors import ImsageError

SPEC = cast(EncoderSpec, None)
OPEN_FILES = Path("/proc/self/fd")
HOST = "http://pictures.example"


def picture(colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


class Finder:
    """Answers at once, but for the addresses that begin with slow."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.encoding = self

    async def fetch(self, url: str, where: str) -> bytes:
        self.asked.append(url.rpartition("/")[2])
        if self.asked[-1].startswith("slow"):
            await asyncio.Event().wait()
        return picture(int(self.asked[-1]))

    async def features_and(self, data: bytes, spec: EncoderSpec, stages: Any, also: Any) -> Any:
        return np.zeros((1, 2), dtype=np.float32), also(decode(data))


async def read(finder: Finder, data: Path, *names: str) -> list[NewPicture | ImsageError]:
    settings = Settings(data=data, request_timeout=1)
    pictures = NewPictures(settings, cast(PictureFinder, finder), lambda _: None)
    images = [NewImage.model_validate({"id": name, "image": {"url": f"{HOST}/{name}"}}) for name in names]
    return await pictures.read(images, SPEC)


@pytest.mark.asyncio
async def test_pictures_of_slow_hosts_fail_by_themselves_and_the_others_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_pictures, "_AT_ONCE", 2)
    finder = Finder()
    found = await asyncio.wait_for(read(finder, tmp_path, "1", "2", "slow-3", "slow-4", "5"), 30)
    assert [isinstance(one, NewPicture) for one in found] == [True, True, False, False, False]
    late = found[4]
    assert isinstance(late, OutOfTime) and (late.status, late.code) == (503, "timeout")
    assert late.errors[0][0] == "/images/4/image"
    assert finder.asked == ["1", "2", "slow-3", "slow-4"]


@pytest.mark.asyncio
async def test_what_memory_has_no_room_for_of_the_pictures_of_one_request_waits_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_file: list[int] = []
    write = os.pwrite

    def counted(descriptor: int, data: bytes, place: int) -> int:
        in_file.append(write(descriptor, data, place))
        return in_file[-1]

    monkeypatch.setattr(os, "pwrite", counted)
    monkeypatch.setattr(new_pictures, "Aside", lambda folder: Aside(folder, in_memory=len(picture(1))))
    found = await read(Finder(), tmp_path, *map(str, range(1, 9)))
    assert sum(in_file) == sum(len(picture(colour)) for colour in range(2, 9))
    for one, colour in zip(found, range(1, 9), strict=True):
        assert isinstance(one, NewPicture) and one.original is not None
        assert one.original() == picture(colour)


def test_what_is_in_the_file_is_not_in_memory_as_well(tmp_path: Path) -> None:
    aside = Aside(tmp_path, in_memory=0)
    tracemalloc.start()
    try:
        kept = [aside.put(bytes(2**20)) for _ in range(20)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) == 20 and held < 2**20


def test_what_was_put_aside_is_there_as_long_as_somebody_may_ask_and_leaves_nothing(tmp_path: Path) -> None:
    before = len(list(OPEN_FILES.iterdir()))
    aside = Aside(tmp_path, in_memory=10)
    kept = [aside.put(text) for text in (b"0123", b"4" * 7, b"56", b"7" * 100_000, b"89")]
    assert list(tmp_path.iterdir()) == []
    del aside
    assert [get() for get in kept] == [b"0123", b"4" * 7, b"56", b"7" * 100_000, b"89"]
    del kept
    assert len(list(OPEN_FILES.iterdir())) == before
