"""What an AVIF is unpacked to is known before it is, whatever its container says."""

from __future__ import annotations

import io
import struct
import time
from typing import Any

import pytest
from PIL import Image

from app.avif_sizes import avif_sizes
from app.images import decode
from graph_store.errors import BadInput
from tests.hostile.pictures import avif_of
from tests.ingest.test_large_pictures import CountedRoom


def avif(mode: str = "L", **options: Any) -> bytes:
    """1200 x 1000 pixels of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, (1200, 1000)).save(buffer, "AVIF", speed=10, **options)
    return buffer.getvalue()


def said_to_be_small(data: bytes) -> bytes:
    """The same, 100 x 100 by its container."""
    claimed = struct.pack(">4sIII", b"ispe", 0, 1200, 1000)
    assert claimed in data
    return data.replace(claimed, struct.pack(">4sIII", b"ispe", 0, 100, 100))


def bits(*numbers: tuple[int, int]) -> bytes:
    """Numbers, each of so many bits, one behind the other."""
    text = "".join(f"{number:0{count}b}" for number, count in numbers)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def block(kind: int, body: bytes) -> bytes:
    """One block of AV1 of less than 128 bytes."""
    return bytes((kind << 3 | 2, len(body))) + body


def size_of(width: int, height: int) -> list[tuple[int, int]]:
    """How a header tells them, in 16 bits each."""
    return [(15, 4), (15, 4), (width - 1, 16), (height - 1, 16), (0, 20)]


def header(width: int, height: int) -> bytes:
    """What a still picture begins with: a delimiter, and its size."""
    return block(2, b"") + block(1, bits((0, 3), (3, 2), (0, 5), *size_of(width, height)))


def test_an_avif_cannot_hide_a_picture_larger_than_its_container_says() -> None:
    with pytest.raises(BadInput, match="AVIF holds 1200 x 1000 pixels; at most 1,000,000"):
        decode(said_to_be_small(avif()), max_pixels=1_000_000)


@pytest.mark.parametrize(("mode", "pictures"), [("L", 1), ("RGBA", 2)])
def test_an_avif_counts_as_all_that_is_unpacked_of_it(mode: str, pictures: int) -> None:
    room = CountedRoom()
    assert decode(said_to_be_small(avif(mode)), room=room).width == 100
    assert room.asked == [pictures * 1_200_000]


def test_the_first_frame_of_a_sequence_is_among_the_sizes() -> None:
    sequence = avif(save_all=True, append_images=[Image.new("L", (1200, 1000), shade) for shade in (9, 99)])
    assert avif_sizes(sequence) == [(1200, 1000)] * 2
    assert avif_sizes(sequence.replace(b"meta", b"free")) == [(1200, 1000)]


def test_a_header_is_found_wherever_its_bytes_are() -> None:
    picture = header(3000, 2000)
    for cuts in [(), (3,), range(1, len(picture))]:
        assert avif_sizes(avif_of(picture, cuts=cuts)) == [(3000, 2000)]


def test_the_largest_of_several_headers_counts() -> None:
    assert avif_sizes(avif_of(header(30, 20) + header(3000, 2000) + header(40, 40))) == [(3000, 2000)]


def test_the_size_is_found_behind_times_and_operating_points() -> None:
    times = [(1, 1), (1, 32), (25, 32), (1, 1), (0b010, 3), (1, 1), (9, 5), (1, 32), (0, 10)]
    points = [(1, 1), (1, 5), (0, 12), (8, 5), (1, 1), (1, 1), (0, 21), (1, 1), (3, 4), (0, 19)]
    whole = block(1, bits((0, 3), (0, 2), *times, *points, *size_of(3000, 2000)))
    assert avif_sizes(avif_of(whole)) == [(3000, 2000)]


def test_pictures_that_are_too_large_together_are_refused() -> None:
    with pytest.raises(BadInput, match="have 5,000,000 pixels together"):
        decode(avif_of(header(1000, 1000), items=5), max_pixels=1_000_000)


@pytest.mark.parametrize(
    "hostile",
    [
        avif_of(b"\x7a\0" * 1_000_000),
        avif_of(header(9, 9), items=60_000),
        avif_of(header(9, 9))[:-8] + b"\0\0\0\x08free" * 1_000_000,
        avif_of(header(9, 9) + bytes(500_000), items=50, cuts=(1,)),
        avif_of(block(2, b"")),
        avif_of(b""),
        avif_of(header(9, 9)[:6]),
    ],
    ids=["blocks", "items", "boxes", "overlaps", "no header", "nothing", "cut"],
)
def test_a_container_without_end_or_beginning_is_refused_at_once(hostile: bytes) -> None:
    began = time.process_time()
    with pytest.raises(BadInput, match="AVIF is"):
        decode(hostile)
    assert time.process_time() - began < 5
